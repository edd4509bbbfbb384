// Times on New York's wall clock, wherever the reader is.

const PARTS = new Intl.DateTimeFormat('en-CA', {
  timeZone: 'America/New_York', hourCycle: 'h23',
  year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit',
});

/** The present minute, like 2024-05-06T17:30. */
export function now(instant = new Date()) {
  const part = Object.fromEntries(PARTS.formatToParts(instant).map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day}T${part.hour}:${part.minute}`;
}

const spoken = (wall, options) =>
  new Intl.DateTimeFormat('en-US', { timeZone: 'UTC', ...options }).format(new Date(`${wall}Z`));

/** A wall time's day in words; as it is when it is no time. */
export const day = (wall) => readable(wall, { weekday: 'long', day: 'numeric', month: 'short', year: 'numeric' });

export const timeOfDay = (wall) => readable(wall, { hour: 'numeric', minute: '2-digit' });

function readable(wall, options) {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(wall) ? spoken(wall.slice(0, 16), options) : wall;
}
