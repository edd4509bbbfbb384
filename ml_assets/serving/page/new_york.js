// New York wall times, in any time zone of the browser.

const PARTS = new Intl.DateTimeFormat('en-CA', {
  timeZone: 'America/New_York', hourCycle: 'h23',
  year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit',
});

/** The current minute, like 2024-05-06T17:30. */
export function now(instant = new Date()) {
  const part = Object.fromEntries(PARTS.formatToParts(instant).map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day}T${part.hour}:${part.minute}`;
}

const formatted = (wall, options) =>
  new Intl.DateTimeFormat('en-US', { timeZone: 'UTC', ...options }).format(new Date(`${wall}Z`));

/** Format the day of a wall time; other text is returned unchanged. */
export const day = (wall) => readable(wall, { weekday: 'long', day: 'numeric', month: 'short', year: 'numeric' });

export const timeOfDay = (wall) => readable(wall, { hour: 'numeric', minute: '2-digit' });

function readable(wall, options) {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(wall) ? formatted(wall.slice(0, 16), options) : wall;
}
