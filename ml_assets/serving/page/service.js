// Asks the prediction service; every failure comes as a Refused with what to tell.

const TOKEN = 'ml_assets_token';
const PATIENCE_MILLISECONDS = 20_000;

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? '',
  set: (value) => sessionStorage.setItem(TOKEN, value),
};

export class Refused extends Error {
  /**
   * @param {number} status HTTP status; 0 when nothing answered.
   * @param {string} message The service's own words where it had some.
   * @param {{field: string, message: string}[]} problems What is wrong with which field.
   */
  constructor(status, message, problems = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

export const address = (path) => new URL(path, document.baseURI).href;

/** The parsed answer, and its text as it came. */
export async function ask(path, body) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer, text;
  try {
    answer = await fetch(address(path), {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
    });
    text = await answer.text();
  } catch (error) {
    const silent = error.name === 'TimeoutError' || error.name === 'AbortError';
    throw new Refused(0, silent ? 'The service was silent for 20 seconds.' : 'The service cannot be reached.');
  }
  const told = parsed(text);
  if (!answer.ok) throw refusal(answer.status, told, text);
  if (told === undefined) throw new Refused(answer.status, 'The service’s answer cannot be read.');
  return { told, text };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusal(status, told, text) {
  const detail = told?.detail;
  if (!Array.isArray(detail)) return new Refused(status, String(detail ?? text).slice(0, 500));
  const problems = detail.map(({ loc = [], msg }) => ({ field: String(loc.at(-1) ?? ''), message: String(msg) }));
  return new Refused(status, problems.map(({ message }) => message).join(' '), problems);
}
