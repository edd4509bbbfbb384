// The form; its values are the request and the query of the page's URL.

import { ZoneField } from './combobox.js';
import { Distance, isNumber } from './distance.js';
import { now } from './new_york.js';
import { Zones } from './zone_search.js';

/** Initial values, so that Predict works at once. */
const EXAMPLE = { PULocationID: '74', DOLocationID: '138' };
const FIELDS = ['PULocationID', 'DOLocationID', 'trip_distance', 'pickup_datetime', 'passenger_count'];
const LABELS = {
  PULocationID: 'The pick-up zone',
  DOLocationID: 'The drop-off zone',
  trip_distance: 'The distance',
  pickup_datetime: 'The pick-up time',
  passenger_count: 'The number of passengers',
};

const UNREADABLE = 'The time in this page’s address cannot be read: enter it here.';

const find = (selector) => document.querySelector(selector);

export class Form {
  /** @param {() => void} changed Called when a value has changed. */
  constructor(changed) {
    const announce = (text) => (find('#found').textContent = text);
    const edited = () => {
      this.distance.follow(this.pickup.value, this.dropoff.value);
      changed();
    };
    this.distance = new Distance(changed);
    this.pickup = new ZoneField(find('#pickup'), new Zones([]), edited, announce);
    this.dropoff = new ZoneField(find('#dropoff'), new Zones([]), edited, announce);
    this.when = find('#when');
    this.passengers = find('#passengers');
    for (const input of [this.when, this.passengers]) input.addEventListener('input', changed);
    find('#now').addEventListener('click', () => {
      this.when.value = now();
      changed();
    });
    find('#swap').addEventListener('click', () => {
      [this.pickup.value, this.dropoff.value] = [this.dropoff.value, this.pickup.value];
      edited();
    });
  }

  /** @param {Zones} zones The zones with their names. */
  rename(zones) {
    this.pickup.rename(zones);
    this.dropoff.rename(zones);
    this.distance.follow(this.pickup.value, this.dropoff.value);
  }

  /** The request: numbers where possible, otherwise text, which the service rejects. */
  read() {
    const texts = this.texts();
    return Object.fromEntries(
      FIELDS.filter((name) => texts[name] !== '').map((name) => {
        const text = texts[name];
        return [name, name !== 'pickup_datetime' && isNumber(text) ? Number(text) : text];
      }),
    );
  }

  texts() {
    return {
      PULocationID: String(this.pickup.value),
      DOLocationID: String(this.dropoff.value),
      trip_distance: this.distance.value,
      pickup_datetime: this.when.value,
      passenger_count: this.passengers.value.trim(),
    };
  }

  /** The values as the query of a URL. */
  query() {
    const filled = Object.entries(this.texts()).filter(([, text]) => text !== '');
    return `?${new URLSearchParams(filled)}`.replaceAll('%3A', ':');
  }

  /** Fill the form from the query of a URL; with the example if it has no values. */
  fill(query) {
    const stated = new URLSearchParams(query);
    const blank = !FIELDS.some((name) => stated.has(name));
    const text = (name) => stated.get(name) ?? (blank ? (EXAMPLE[name] ?? '') : '');
    this.pickup.value = text('PULocationID');
    this.dropoff.value = text('DOLocationID');
    this.distance.write(text('trip_distance'));
    const time = stated.get('pickup_datetime') ?? (blank ? now() : '');
    this.when.value = time;
    this.passengers.value = text('passenger_count');
    this.distance.follow(this.pickup.value, this.dropoff.value);
    this.clearErrors();
    // The field drops an invalid time, and empty would mean now.
    if (time && !this.when.value) this.showErrors([{ field: 'pickup_datetime', message: UNREADABLE }]);
  }

  /** Whether the time is incomplete: its value is then empty, which would mean now. */
  get halfTime() {
    return this.when.validity.badInput;
  }

  /** Show errors next to their fields; returns the errors of no field. */
  showErrors(problems) {
    this.clearErrors();
    const others = problems.filter(({ field }) => !FIELDS.includes(field));
    const inputs = problems.filter(({ field }) => FIELDS.includes(field)).map((problem) => mark(problem));
    inputs[0]?.focus();
    return others;
  }

  /** Remove all errors. */
  clearErrors() {
    for (const field of document.querySelectorAll('[data-field]')) {
      field.querySelector('.error').hidden = true;
      field.querySelector('input').removeAttribute('aria-invalid');
    }
  }
}

function mark({ field, message }) {
  const part = find(`[data-field=${field}]`);
  const error = part.querySelector('.error');
  error.textContent = message.replaceAll(field, LABELS[field]);
  error.hidden = false;
  const input = part.querySelector('input');
  input.setAttribute('aria-invalid', 'true');
  return input;
}
