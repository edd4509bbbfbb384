// The page: sends the form to POST /predict and shows the response.

import * as answer from './answer.js';
import { ModelCard } from './model_card.js';
import { body, copy, curl } from './command.js';
import { Form } from './form.js';
import { request, RequestError, token } from './service.js';
import { Zones } from './zone_search.js';

/** Browsers limit changes of the URL, so it does not change with each key. */
const SETTLED_MILLISECONDS = 400;

const find = (selector) => document.querySelector(selector);

let zones = new Zones([]);
/** The prediction shown: its request and response. */
let answered = null;
/** Counts submissions, so that only the response to the newest one is shown. */
let submissions = 0;
/** Whether the newest submission failed because no model is loaded. */
let waiting = false;
let later = null;

const card = new ModelCard();
const form = new Form(edited);

function edited() {
  clearTimeout(later);
  later = setTimeout(keepAddress, SETTLED_MILLISECONDS);
  showStale();
  if (!answered) find('#command').textContent = curl(body(form.read()));
}

/** A change after a prediction is a new history entry, so that Back leads to the prediction. */
function keepAddress() {
  if (later === null) return;
  clearTimeout(later);
  later = null;
  history[history.state?.answered ? 'pushState' : 'replaceState'](null, '', form.query());
}

function showStale() {
  const stale = answered !== null && answered.sent !== body(form.read());
  find('#answer').classList.toggle('is-stale', stale);
}

async function submit() {
  const mine = ++submissions;
  waiting = false;
  busy(true);
  keepAddress();
  const sent = body(form.read());
  if (form.halfTime) {
    busy(false);
    form.showErrors([{ field: 'pickup_datetime', message: 'The time is half filled in: complete or clear it.' }]);
    return;
  }
  try {
    const { content, text } = await request('predict?explain=true', sent);
    if (mine === submissions) accept({ sent, content, text });
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (mine === submissions) showError(error, sent);
  } finally {
    if (mine === submissions) busy(false);
  }
}

function busy(whether) {
  find('#predict').setAttribute('aria-busy', String(whether));
  find('#headline').setAttribute('aria-busy', String(whether));
}

function accept(newest) {
  form.clearErrors();
  notice(null);
  find('#access').hidden = true;
  history.replaceState({ answered: newest }, '', form.query());
  showAnswer(newest);
  if (zones.zones.length) card.load(newest.content.model_version);
  else load();
  reveal(find('#answer'));
}

function showAnswer(newest) {
  answered = newest;
  answer.show(newest.content, JSON.parse(newest.sent), zones, card);
  find('#command').textContent = curl(newest.sent);
  find('#raw').textContent = JSON.stringify(newest.content, null, 2);
  showStale();
}

function showError(error, sent) {
  answered = null;
  answer.blank();
  showStale();
  find('#command').textContent = curl(sent);
  find('#words').textContent = 'No prediction yet.';
  waiting = error.status === 503 && !card.content;
  const others = error.status === 422 && error.problems.length ? form.showErrors(error.problems) : null;
  if (others?.length === 0) notice('Some fields are invalid.');
  else if (error.status === 401) showTokenForm(error, true);
  else {
    notice(...explained(error));
    reveal(find('#answer'));
  }
}

function explained({ status, message }) {
  if (status === 0) return [message, 'Is it still running? Your entries are kept: press Predict to try again.'];
  if (waiting) return [message, 'This page retries automatically.'];
  if (status === 422) return [message];
  return [`The service returned status ${status}.`, message];
}

function notice(what, then = '') {
  find('#notice').hidden = what === null;
  find('#answer').classList.toggle('refused', what !== null);
  find('#notice').replaceChildren(
    ...[what, then].filter(Boolean).map((text) => Object.assign(document.createElement('p'), { textContent: sentence(text) })),
  );
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

function showTokenForm({ message }, pressed = false) {
  find('#access-message').textContent = sentence(message);
  find('#access').hidden = false;
  if (pressed) notice('The service requires a token.');
  if (pressed) find('#token').focus();
}

/** On phones the prediction is below the form. */
function reveal(element) {
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const { top } = element.getBoundingClientRect();
  if (top > innerHeight * 0.6 || top < 0) element.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
}

/** Load zone names and model card. */
async function load() {
  try {
    zones = new Zones((await request('zones')).content);
    form.rename(zones);
    await card.load();
    form.distance.retry();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (error.status === 401) showTokenForm(error);
  }
}

find('#ride').addEventListener('submit', (event) => {
  event.preventDefault();
  submit();
});

find('#access-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  token.set(find('#token').value.trim());
  find('#access').hidden = true;
  notice(null);
  await load();
  if (find('#access').hidden) submit();
});

find('#copy').addEventListener('click', async () => {
  find('#copied').textContent = (await copy(find('#command'))) ? 'Copied.' : 'Select and copy it manually.';
});

addEventListener('popstate', ({ state }) => {
  clearTimeout(later);
  later = null;
  form.fill(location.search);
  notice(null);
  answered = null;
  answer.blank();
  if (state?.answered?.content) showAnswer(state.answered);
  else showStale();
});

answer.blank();
form.fill(location.search);
find('#command').textContent = curl(body(form.read()));
card.onArrival = () => {
  form.distance.retry();
  if (answered) showAnswer(answered);
  else if (waiting) submit();
};
await load();
