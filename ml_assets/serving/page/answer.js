// Shows an answer: minutes, interval, what pushed them. It computes no minutes, only places and words.

import { inKilometres } from './distance.js';
import { day, timeOfDay } from './new_york.js';

const PUSHES = {
  pickup_zone: ['Pick-up zone', ({ PULocationID }, zones) => zones.name(PULocationID)],
  dropoff_zone: ['Drop-off zone', ({ DOLocationID }, zones) => zones.name(DOLocationID)],
  trip_distance: ['Distance', ({ trip_distance: miles }) => `${miles} mi, ${inKilometres(miles)}`],
  time_of_day: ['Time of day', ({ pickup_datetime: at }) => (at ? timeOfDay(at) : 'now')],
  day: ['Day', ({ pickup_datetime: at }) => (at ? day(at) : 'today')],
  passenger_count: ['Passengers', ({ passenger_count: count }) => String(count ?? 'not stated')],
};

const find = (selector) => document.querySelector(selector);
const one = (minutes) =>
  minutes.toLocaleString('en-US', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const signed = (minutes) => {
  const text = one(Math.abs(minutes));
  return text === '0.0' ? text : `${minutes < 0 ? '−' : '+'}${text}`;
};

/** The page before an answer: everything has its place already. */
export function blank() {
  find('#answer').classList.remove('answered');
  find('#minutes').textContent = '–';
  find('#minutes').removeAttribute('value');
  drawScale(30);
  find('#pushed').textContent = 'Compared with a typical trip.';
  drawNoPushes();
  find('#answered').textContent = 'Each answer has a request id and the version that gave it.';
}

/**
 * @param {object} told The service's answer.
 * @param {object} request What was asked.
 * @param {import('./zone_search.js').Zones} zones
 * @param {number} percent How many of a hundred trips the interval is meant to hold.
 */
export function show(told, request, zones, percent) {
  const { predicted_minutes: minutes, lower_minutes: lower, upper_minutes: upper, explanation } = told;
  find('#answer').classList.add('answered');
  find('#minutes').textContent = one(minutes);
  find('#minutes').value = String(minutes);
  const bounds = lower === null || lower === undefined ? null : [lower, upper];
  find('#words').textContent = bounds
    ? `${percent} of 100 such trips take between ${one(lower)} and ${one(upper)} minutes.`
    : 'This model states no interval.';
  const typical = explanation?.typical_minutes;
  const furthest = Math.max(30, minutes, upper ?? 0, typical ?? 0);
  drawScale(Math.ceil(furthest / 10) * 10, minutes, bounds, typical);
  drawPushes(explanation, minutes, request, zones);
  find('#answered').textContent = `Model version ${told.model_version}, request ${told.request_id}`;
}

function drawScale(end, minutes, bounds, typical) {
  const scale = find('#scale');
  const place = (selector, at, width = 0) => {
    const mark = scale.querySelector(selector);
    mark.hidden = !Number.isFinite(at);
    if (mark.hidden) return;
    mark.style.left = `${(at / end) * 100}%`;
    if (width) mark.style.width = `${(width / end) * 100}%`;
  };
  place('.band', bounds?.[0], bounds && bounds[1] - bounds[0]);
  place('.predicted', minutes);
  place('.typical', typical);
  const step = [5, 10, 20, 30, 60].find((size) => end / size <= 6) ?? Math.ceil(end / 60) * 10;
  const numbers = [];
  for (let at = 0; at <= end; at += step) {
    const number = document.createElement('span');
    number.textContent = at;
    number.style.left = `${(at / end) * 100}%`;
    numbers.push(number);
  }
  numbers.at(-1).textContent += ' min';
  scale.querySelector('.numbers').replaceChildren(...numbers);
}

function drawPushes(explanation, minutes, request, zones) {
  if (!explanation) {
    find('#pushed').textContent = 'This model does not tell what made its minutes.';
    drawNoPushes();
    return;
  }
  const { typical_minutes: typical, contributions } = explanation;
  find('#pushed').textContent =
    `A typical trip takes ${one(typical)} minutes; these make it ${one(minutes)}.`;
  const pushes = Object.entries(contributions).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  const [least, most] = [Math.min(-0.2, ...Object.values(contributions)), Math.max(0.2, ...Object.values(contributions))];
  const place = (at) => `${((at - least) / (most - least)) * 100}%`;
  find('#pushes').style.setProperty('--zero', place(0));
  find('#pushes').replaceChildren(
    ...pushes.map(([name, push]) => {
      const made = row(name, PUSHES[name]?.[1](request, zones), `${signed(push)} min`);
      made.querySelector('.value').dataset.minutes = push;
      if (signed(push) === '0.0') return made;
      const strip = text('span', push < 0 ? 'shorter' : 'longer', '');
      strip.style.setProperty('--from', place(Math.min(0, push)));
      strip.style.setProperty('--length', `${(Math.abs(push) / (most - least)) * 100}%`);
      made.querySelector('.bar').append(strip);
      return made;
    }),
  );
}

/** The rows without bars, so that nothing moves when they come. */
function drawNoPushes() {
  find('#pushes').style.setProperty('--zero', '30%');
  find('#pushes').replaceChildren(...Object.keys(PUSHES).map((name) => row(name, '\u00a0', '–')));
}

function row(name, stated, value) {
  const made = document.createElement('div');
  const term = text('dt', '', PUSHES[name]?.[0] ?? name.replaceAll('_', ' '));
  term.append(' ', text('small', '', stated ?? ''));
  const bar = text('dd', 'bar', '');
  bar.ariaHidden = 'true';
  made.append(term, bar, text('dd', 'value', value));
  return made;
}

function text(tag, name, content) {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = content;
  return made;
}
