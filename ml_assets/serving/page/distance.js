// The distance field: filled with the typical distance of the zones until the user enters one.

import { request } from './service.js';

const KILOMETRES_A_MILE = 1.609344;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** JSON has no infinity: 1e999 stays text. */
export const isNumber = (text) => NUMBER.test(text) && Number.isFinite(Number(text));

/** Accept a decimal comma: 2,5. Three digits after a comma may be thousands. */
const withPoint = (text) => (/^\s*\d*,(\d{1,2}|\d{4,})\s*$/.test(text) ? text.replace(',', '.') : text);

export class Distance {
  /** @param {() => void} changed Called when the distance has changed. */
  constructor(changed) {
    this.input = document.querySelector('#miles');
    this.kilometres = document.querySelector('#kilometres');
    this.hint = document.querySelector('#typical-hint');
    this.use = document.querySelector('#use-typical');
    this.changed = changed;
    this.typical = null;
    this.own = false;
    this.pair = '';
    this.settled = Promise.resolve();
    this.input.addEventListener('input', () => this.typed());
    this.input.addEventListener('change', () => this.left());
    this.use.addEventListener('click', () => this.take());
  }

  get value() {
    return withPoint(this.input.value).trim();
  }

  /** @param {string} text @param {boolean} own Whether the user entered it. */
  write(text, own) {
    this.own = own;
    this.input.value = text;
    this.show();
  }

  /** Load the typical distance of another pair of zones. */
  follow(pickup, dropoff) {
    const pair = [pickup, dropoff].every(Number.isInteger)
      ? `PULocationID=${pickup}&DOLocationID=${dropoff}`
      : '';
    if (pair === this.pair) return;
    this.pair = pair;
    this.settled = this.load(pair);
  }

  /** Try again once the service has a model or accepts the token. */
  retry() {
    if (this.typical !== null || !this.pair) return;
    this.settled = this.load(this.pair);
  }

  async load(pair) {
    let miles;
    try {
      if (pair) miles = (await request(`typical-distance?${pair}`)).content.trip_distance;
    } catch {
      // Without it the user enters the distance; Predict shows the error.
    }
    if (pair !== this.pair) return;
    this.typical = Number.isFinite(miles) ? String(Math.round(miles * 100) / 100) : null;
    // A pair without a typical distance (null) must not keep that of another pair.
    if (!this.own && (this.typical !== null || miles === null)) this.fill(this.typical ?? '');
    else this.show();
  }

  take() {
    this.own = false;
    this.fill(this.typical);
    this.input.focus();
  }

  fill(text) {
    const other = text !== this.input.value;
    this.input.value = text;
    // Select it, so that typing in the field replaces it.
    if (other && document.activeElement === this.input) this.input.select();
    this.show();
    if (other) this.changed();
  }

  typed() {
    this.own = this.value !== '' && this.value !== this.typical;
    this.show();
    this.changed();
  }

  left() {
    this.input.value = withPoint(this.input.value);
    this.show();
  }

  show() {
    this.kilometres.textContent = isNumber(this.value) ? `= ${inKilometres(this.value)}` : '';
    const offered = this.typical !== null && this.value !== this.typical;
    this.use.hidden = !offered;
    this.hint.textContent =
      this.typical === null
        ? 'Along the road'
        : offered
          ? `Typical: ${this.typical} miles, ${inKilometres(this.typical)}`
          : 'Typical for these two zones';
  }
}

export function inKilometres(miles) {
  const kilometres = Number(miles) * KILOMETRES_A_MILE;
  return `${kilometres.toLocaleString('en-US', { maximumFractionDigits: 1, minimumFractionDigits: 1 })} km`;
}
