// The card of the model that answers; looked for again while there is none.

import { ask, Refused } from './service.js';

const AGAIN_MILLISECONDS = 5_000;
const USUAL_PERCENT = 80;

const find = (selector) => document.querySelector(selector);
const two = (number) => number.toFixed(2);
const percentage = (share) => `${(share * 100).toFixed(1)} %`;

const NAMES = new Intl.DateTimeFormat('en-US', { month: 'short', year: 'numeric', timeZone: 'UTC' });

/** 2023-05 as “May 2023”. */
const named = (month) => (/^\d{4}-\d\d$/.test(month) ? NAMES.format(new Date(`${month}-01`)) : month);

/** 2023-01, 2023-02, 2023-03 as “Jan 2023 to Mar 2023”; months with a gap one by one. */
export function months(list) {
  if (!list?.length) return 'not known';
  const number = (month) => Number(month.slice(0, 4)) * 12 + Number(month.slice(5));
  const sorted = [...list].sort();
  const [first, last] = [sorted[0], sorted.at(-1)];
  const whole = number(last) - number(first) === sorted.length - 1;
  if (sorted.length === 1) return named(first);
  return whole ? `${named(first)} to ${named(last)}` : sorted.map(named).join(', ');
}

const ROWS = {
  version: ({ version, alias }) => (alias ? `${version} (${alias})` : version),
  family: ({ model }) => model?.replaceAll('_', ' '),
  training: ({ training_months: list }) => months(list),
  test: ({ test_month: month }) => month && named(month),
  error: ({ test_rmse: error }) => error && `${two(error)} minutes (RMSE)`,
  intervals: ({ interval }) =>
    interval?.coverage && `${percentage(interval.coverage)} of its trips (${Math.round(interval.target_coverage * 100)} % intended)`,
};

export class ModelCard {
  constructor() {
    this.told = null;
    this.onArrival = () => {};
    this.usual = find('#taxi').textContent;
  }

  /** What the interval is meant to hold, in percent. */
  get percent() {
    return Math.round((this.told?.interval?.target_coverage ?? USUAL_PERCENT / 100) * 100);
  }

  get synthetic() {
    return Boolean(this.told?.synthetic);
  }

  /** Ask for the card, unless it is already that of the version. */
  async bring(version) {
    if (version !== undefined && version === this.told?.version) return;
    try {
      this.told = (await ask('model')).told;
      this.show(this.told);
      this.onArrival();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      find('#caveat').hidden = false;
      find('#caveat').textContent = error.message;
      // A token is asked for by the page, and brings the card with it.
      if (error.status !== 401) setTimeout(() => this.bring(), AGAIN_MILLISECONDS);
    }
  }

  show(told) {
    for (const [name, read] of Object.entries(ROWS)) {
      find(`#card-${name}`).textContent = read(told) || 'not known';
    }
    find('#taxi').textContent = told.dataset?.endsWith('yellow') ? 'yellow taxis' : this.usual;
    find('#synthetic').hidden = !told.synthetic;
    find('#caveat').hidden = !told.caveat;
    find('#caveat').textContent = told.caveat ?? '';
  }
}
