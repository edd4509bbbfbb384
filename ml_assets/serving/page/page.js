// The page: asks POST /predict for what is in the form, and shows what it answers.

import * as answer from './answer.js';
import { ModelCard } from './model_card.js';
import { body, copy, curl } from './command.js';
import { Form } from './form.js';
import { ask, Refused, token } from './service.js';
import { Zones } from './zone_search.js';

/** Browsers count changes of the address: not one a key. */
const SETTLED_MILLISECONDS = 400;

const find = (selector) => document.querySelector(selector);

let zones = new Zones([]);
/** The newest answer that is shown: what was sent, and what came. */
let answered = null;
/** Counts the presses, so that only the newest one's answer is shown. */
let presses = 0;
/** Whether there was no model to answer the newest press. */
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

/** What is edited after an answer is a new entry of the history, so that back leads to the answer. */
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

async function press() {
  const mine = ++presses;
  waiting = false;
  busy(true);
  await form.distance.settled;
  keepAddress();
  const sent = body(form.read());
  if (form.halfTime) {
    busy(false);
    form.refuse([{ field: 'pickup_datetime', message: 'The time is half filled in: complete or clear it.' }]);
    return;
  }
  try {
    const { told, text } = await ask('predict?explain=true', sent);
    if (mine === presses) accept({ sent, told, text });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (mine === presses) refuse(error, sent);
  } finally {
    if (mine === presses) busy(false);
  }
}

function busy(whether) {
  find('#predict').setAttribute('aria-busy', String(whether));
  find('#headline').setAttribute('aria-busy', String(whether));
}

function accept(newest) {
  form.forget();
  notice(null);
  find('#access').hidden = true;
  history.replaceState({ answered: newest }, '', form.query());
  showAnswer(newest);
  if (zones.zones.length) card.bring(newest.told.model_version);
  else bring();
  reveal(find('#answer'));
}

function showAnswer(newest) {
  answered = newest;
  answer.show(newest.told, JSON.parse(newest.sent), zones, card);
  find('#command').textContent = curl(newest.sent);
  find('#raw').textContent = JSON.stringify(newest.told, null, 2);
  showStale();
}

function refuse(error, sent) {
  answered = null;
  answer.blank();
  showStale();
  find('#command').textContent = curl(sent);
  find('#words').textContent = 'No answer yet.';
  waiting = error.status === 503 && !card.told;
  const others = error.status === 422 && error.problems.length ? form.refuse(error.problems) : null;
  if (others?.length === 0) notice('Something in the form needs another look.');
  else if (error.status === 401) askForToken(error, true);
  else {
    notice(...explained(error));
    reveal(find('#answer'));
  }
}

function explained({ status, message }) {
  if (status === 0) return [message, 'Is it still running? Your entries are kept: press Predict to try again.'];
  if (waiting) return [message, 'This page asks again as soon as there is one.'];
  if (status === 422) return [message];
  return [`The service answered with status ${status}.`, message];
}

function notice(what, then = '') {
  find('#notice').hidden = what === null;
  find('#answer').classList.toggle('refused', what !== null);
  find('#notice').replaceChildren(
    ...[what, then].filter(Boolean).map((text) => Object.assign(document.createElement('p'), { textContent: sentence(text) })),
  );
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

function askForToken({ message }, pressed = false) {
  find('#access-told').textContent = sentence(message);
  find('#access').hidden = false;
  if (pressed) notice('The service asks for a token.');
  if (pressed) find('#token').focus();
}

/** On a phone the answer is below the form. */
function reveal(element) {
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const { top } = element.getBoundingClientRect();
  if (top > innerHeight * 0.6 || top < 0) element.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
}

/** Names and card; what cannot be had now is asked again later. */
async function bring() {
  try {
    zones = new Zones((await ask('zones')).told);
    form.rename(zones);
    await card.bring();
    form.distance.askAgain();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) askForToken(error);
  }
}

find('#ride').addEventListener('submit', (event) => {
  event.preventDefault();
  press();
});

find('#access-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  token.set(find('#token').value.trim());
  find('#access').hidden = true;
  notice(null);
  await bring();
  if (find('#access').hidden) press();
});

find('#copy').addEventListener('click', async () => {
  find('#copied').textContent = (await copy(find('#command'))) ? 'Copied.' : 'Select it and copy it by hand.';
});

addEventListener('popstate', ({ state }) => {
  clearTimeout(later);
  later = null;
  form.fill(location.search);
  notice(null);
  answered = null;
  answer.blank();
  if (state?.answered) showAnswer(state.answered);
  else showStale();
});

answer.blank();
form.fill(location.search);
find('#command').textContent = curl(body(form.read()));
card.onArrival = () => {
  form.distance.askAgain();
  if (answered) showAnswer(answered);
  else if (waiting) press();
};
await bring();
