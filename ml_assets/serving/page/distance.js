// The distance field: the pair's typical distance fills it until a person types one of their own.

import { ask } from './service.js';

const KILOMETRES_A_MILE = 1.609344;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** JSON has no infinity: 1e999 stays text. */
export const isNumber = (text) => NUMBER.test(text) && Number.isFinite(Number(text));

/** As many people write a fraction: 2,5. Three digits after a comma may be thousands. */
const withPoint = (text) => (/^\s*\d*,(\d{1,2}|\d{4,})\s*$/.test(text) ? text.replace(',', '.') : text);

export class Distance {
  /** @param {() => void} changed Called when another distance is in the field. */
  constructor(changed) {
    this.input = document.querySelector('#miles');
    this.kilometres = document.querySelector('#kilometres');
    this.told = document.querySelector('#typical-told');
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

  /** @param {string} text @param {boolean} own Whether a person chose it. */
  write(text, own) {
    this.own = own;
    this.input.value = text;
    this.show();
  }

  /** Another pair of zones: ask for its typical distance. */
  follow(pickup, dropoff) {
    const pair = [pickup, dropoff].every(Number.isInteger)
      ? `PULocationID=${pickup}&DOLocationID=${dropoff}`
      : '';
    if (pair === this.pair) return;
    this.pair = pair;
    this.settled = this.look(pair);
  }

  /** The service has a model, or lets us in, since: ask again. */
  askAgain() {
    if (this.typical !== null || !this.pair) return;
    this.settled = this.look(this.pair);
  }

  async look(pair) {
    let miles;
    try {
      if (pair) miles = (await ask(`typical-distance?${pair}`)).told.trip_distance;
    } catch {
      // Without it the person states the distance; asking for minutes will tell what is wrong.
    }
    if (pair !== this.pair) return;
    this.typical = Number.isFinite(miles) ? String(Math.round(miles * 100) / 100) : null;
    // A pair without a typical distance (null) must not keep another pair's.
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
    // Somebody who has just come into the field would type behind the number that arrives.
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
    this.told.textContent =
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
