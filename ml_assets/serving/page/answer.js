// Shows a prediction: minutes, interval and contributions.

import { inKilometres, inMiles } from './distance.js';
import { day, timeOfDay } from './new_york.js';

/** The value of each contribution in the request and its response. */
const VALUES = {
  pickup_zone: ({ PULocationID }, zones) => zones.name(PULocationID),
  dropoff_zone: ({ DOLocationID }, zones) => zones.name(DOLocationID),
  trip_distance: (request, zones, { distance, distance_miles: miles }) => {
    if (!Number.isFinite(miles)) return distance;
    return distance === 'stated' ? `${miles} miles, ${inKilometres(miles)}` : `the zones’ usual ${inMiles(miles)}`;
  },
  time_of_day: ({ pickup_datetime: at }) => (at ? timeOfDay(at) : 'now'),
  day: ({ pickup_datetime: at }) => (at ? day(at) : 'today'),
  passenger_count: ({ passenger_count: count }) => String(count ?? 'not stated'),
};

const find = (selector) => document.querySelector(selector);
const one = (minutes) =>
  minutes.toLocaleString('en-US', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const signed = (minutes) => {
  const text = one(Math.abs(minutes));
  return text === '0.0' ? text : `${minutes < 0 ? '−' : '+'}${text}`;
};

/** Show the layout without a prediction. */
export function blank() {
  find('#answer').classList.remove('answered');
  find('#minutes').textContent = '–';
  find('#minutes').removeAttribute('value');
  drawScale(30);
  find('#pushed').textContent = 'Compared with a typical trip.';
  drawNoPushes();
  find('#answered').textContent = 'Each prediction has a request id and a model version.';
}

/**
 * @param {object} content The service's response.
 * @param {object} request The request.
 * @param {import('./zone_search.js').Zones} zones
 * @param {import('./model_card.js').ModelCard} card
 */
export function show(content, request, zones, card) {
  const { predicted_minutes: minutes, lower_minutes: lower, upper_minutes: upper, explanation } = content;
  find('#answer').classList.add('answered');
  find('#minutes').textContent = one(minutes);
  find('#minutes').value = String(minutes);
  const bounds = lower === null || lower === undefined ? null : [lower, upper];
  const distance = usedDistance(content, request);
  find('#words').textContent = bounds
    ? `${distance}, ${card.percent} of 100 such trips take between ${one(lower)} and ${one(upper)} minutes.`
    : `${distance}: this model has no prediction intervals.`;
  const typical = explanation?.baseline_minutes;
  const furthest = Math.max(30, minutes, upper ?? 0, typical ?? 0);
  drawScale(Math.ceil(furthest / 10) * 10, minutes, bounds, typical);
  drawPushes(content, request, zones);
  find('#answered').textContent = 
    `Model version ${content.model_version}${card.synthetic ? ' (synthetic sample data)' : ''}, request ${content.request_id}`;
}

/**
 * The distance that the model used, as the beginning of a sentence. Intervals for a stated distance
 * are calibrated with metered ones: they hold if the statement does.
 */
function usedDistance({ distance, distance_miles: miles }, { trip_distance: own }) {
  if (distance === 'stated') {
    return `If the ride is ${miles} ${miles === 1 ? 'mile' : 'miles'} long, as you stated`;
  }
  const usual = `For the usual ${Number.isFinite(miles) ? inMiles(miles) : 'distance'}`;
  return own === undefined ? usual : `${usual} (${own} is not plausible)`;
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

function drawPushes(content, request, zones) {
  const { explanation, predicted_minutes: minutes } = content;
  drawNoPushes();
  if (!explanation) {
    find('#pushed').textContent = 'This model has no explanations.';
    return;
  }
  const { baseline_minutes: typical, contributions } = explanation;
  find('#pushed').textContent =
    `A typical trip takes ${one(typical)} minutes; these make it ${one(minutes)}.`;
  const pushes = Object.entries(contributions).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  const least = Math.min(-0.2, ...Object.values(contributions));
  const most = Math.max(0.2, ...Object.values(contributions));
  const place = (at) => `${((at - least) / (most - least)) * 100}%`;
  find('#pushes').style.setProperty('--zero', place(0));
  for (const [name, push] of pushes) {
    const row = find(`[data-push="${name}"]`);
    find('#pushes').append(row);
    row.querySelector('small').textContent = VALUES[name](request, zones, content);
    row.querySelector('.value').textContent = `${signed(push)} min`;
    row.querySelector('.value').dataset.minutes = push;
    if (signed(push) === '0.0') continue;
    const bar = document.createElement('span');
    bar.className = push < 0 ? 'shorter' : 'longer';
    bar.style.setProperty('--from', place(Math.min(0, push)));
    bar.style.setProperty('--length', `${(Math.abs(push) / (most - least)) * 100}%`);
    row.querySelector('.bar').append(bar);
  }
}

/** Draw the rows without bars, so that the layout does not change later. */
function drawNoPushes() {
  find('#pushes').style.setProperty('--zero', '30%');
  for (const row of document.querySelectorAll('[data-push]')) {
    row.querySelector('small').textContent = '\u00a0';
    row.querySelector('.bar').replaceChildren();
    row.querySelector('.value').textContent = '–';
    delete row.querySelector('.value').dataset.minutes;
  }
}
