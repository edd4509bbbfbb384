// Requests to the prediction service; every failure is a RequestError with a message to show.

const TOKEN = 'ml_assets_token';
const TIMEOUT_MILLISECONDS = 20_000;

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? '',
  set: (value) => sessionStorage.setItem(TOKEN, value),
};

export class RequestError extends Error {
  /**
   * @param {number} status HTTP status; 0 without a response.
   * @param {string} message The service's message if it has one.
   * @param {{field: string, message: string}[]} problems Errors by field.
   */
  constructor(status, message, problems = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

export const address = (path) => new URL(path, document.baseURI).href;

/** Send a request; returns the parsed response and its text. */
export async function request(path, body) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer, text;
  try {
    answer = await fetch(address(path), {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
    });
    text = await answer.text();
  } catch (error) {
    const silent = error.name === 'TimeoutError' || error.name === 'AbortError';
    throw new RequestError(0, silent ? 'The service did not respond within 20 seconds.' : 'The service cannot be reached.');
  }
  const content = parsed(text);
  if (!answer.ok) throw toError(answer.status, content, text);
  if (content === undefined) throw new RequestError(answer.status, 'The service’s response cannot be read.');
  return { content, text };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toError(status, content, text) {
  const detail = content?.detail;
  if (!Array.isArray(detail)) return new RequestError(status, String(detail ?? text).slice(0, 500));
  const problems = detail.map(({ loc = [], msg }) => ({ field: String(loc.at(-1) ?? ''), message: String(msg) }));
  return new RequestError(status, problems.map(({ message }) => message).join(' '), problems);
}
