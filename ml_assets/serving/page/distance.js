// The distance field: left empty, the service predicts for the usual distance of the two zones.

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
    this.hint = document.querySelector('#usual-hint');
    this.use = document.querySelector('#use-usual');
    this.changed = changed;
    this.usual = null;
    this.pair = '';
    this.input.addEventListener('input', () => this.edit());
    this.input.addEventListener('change', () => this.write(withPoint(this.input.value)));
    this.use.addEventListener('click', () => this.leaveOut());
  }

  /** The stated distance; empty where it is left out. */
  get value() {
    return withPoint(this.input.value).trim();
  }

  write(text) {
    this.input.value = text;
    this.show();
  }

  /** Load the usual distance of another pair of zones. */
  follow(pickup, dropoff) {
    const pair = [pickup, dropoff].every(Number.isInteger)
      ? `PULocationID=${pickup}&DOLocationID=${dropoff}`
      : '';
    if (pair === this.pair) return;
    this.pair = pair;
    this.load(pair);
  }

  /** Try again once the service has a model or accepts the token. */
  retry() {
    if (this.usual === null && this.pair) this.load(this.pair);
  }

  async load(pair) {
    let miles = null;
    try {
      if (pair) miles = (await request(`typical-distance?${pair}`)).content.trip_distance;
    } catch {
      // The form works without it; Predict shows the error.
    }
    if (pair !== this.pair) return;
    this.usual = Number.isFinite(miles) ? miles : null;
    this.show();
  }

  leaveOut() {
    this.input.value = '';
    this.input.focus();
    this.edit();
  }

  edit() {
    this.show();
    this.changed();
  }

  show() {
    const known = this.usual !== null;
    const usual = known ? `${inMiles(this.usual)}, ${inKilometres(this.usual)}` : '';
    const stated = this.value !== '';
    this.input.placeholder = known ? tenths(this.usual) : '';
    this.kilometres.textContent = isNumber(this.value) ? `= ${inKilometres(this.value)}` : '';
    this.use.hidden = !(known && stated);
    if (!known) this.hint.textContent = 'Left empty: the usual one of the two zones';
    else this.hint.textContent = stated ? `Usual: ${usual}` : `Left empty: the usual ${usual}`;
  }
}

const tenths = (number) =>
  number.toLocaleString('en-US', { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export const inMiles = (miles) => `${tenths(miles)} miles`;

export const inKilometres = (miles) => `${tenths(Number(miles) * KILOMETRES_A_MILE)} km`;
