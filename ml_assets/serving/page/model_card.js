// The card of the model in use; requested again until there is one.

import { request, RequestError } from './service.js';

const RETRY_MILLISECONDS = 5_000;
const DEFAULT_PERCENT = 80;

const find = (selector) => document.querySelector(selector);
const two = (number) => number.toFixed(2);
const percentage = (share) => `${(share * 100).toFixed(1)} %`;

const NAMES = new Intl.DateTimeFormat('en-US', { month: 'short', year: 'numeric', timeZone: 'UTC' });

/** 2023-05 as “May 2023”. */
const named = (month) => (/^\d{4}-\d\d$/.test(month) ? NAMES.format(new Date(`${month}-01`)) : month);

/** 2023-01, 2023-02, 2023-03 as “Jan 2023 to Mar 2023”; months with gaps are listed. */
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
  error: ({ test_rmse: error, test_rmse_usual: usual }) =>
    error && `${two(error)} minutes (RMSE)${usual ? ` with the metered distance, ${two(usual)} without a distance` : ''}`,
  intervals: ({ interval, interval_usual: usual }) =>
    interval?.coverage &&
    `${percentage(interval.coverage)} of its trips${usual?.coverage ? ` with the metered distance, ${percentage(usual.coverage)} without a distance` : ''} (${Math.round(interval.target_coverage * 100)} % intended)`,
};

export class ModelCard {
  constructor() {
    this.content = null;
    this.onArrival = () => {};
    this.defaultTaxi = find('#taxi').textContent;
  }

  /** Target coverage of the intervals, in percent. */
  get percent() {
    return Math.round((this.content?.interval?.target_coverage ?? DEFAULT_PERCENT / 100) * 100);
  }

  get synthetic() {
    return Boolean(this.content?.synthetic);
  }

  /** Load the card, unless it is already the one of the version. */
  async load(version) {
    if (version !== undefined && version === this.content?.version) return;
    try {
      this.content = (await request('model')).content;
      this.show(this.content);
      this.onArrival();
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      find('#caveat').hidden = false;
      find('#caveat').textContent = error.message;
      // The page shows the form for a token, and then loads the card again.
      if (error.status !== 401) setTimeout(() => this.load(), RETRY_MILLISECONDS);
    }
  }

  show(content) {
    for (const [name, read] of Object.entries(ROWS)) {
      find(`#card-${name}`).textContent = read(content) || 'not known';
    }
    find('#taxi').textContent = content.dataset?.endsWith('yellow') ? 'yellow taxis' : this.defaultTaxi;
    find('#synthetic').hidden = !content.synthetic;
    find('#caveat').hidden = !content.caveat;
    find('#caveat').textContent = content.caveat ?? '';
  }
}
