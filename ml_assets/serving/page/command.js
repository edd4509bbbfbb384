// The request as a shell command.

import { address, token } from './service.js';

const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** JSON with a space after each colon and comma, for readability. */
export const body = (request) =>
  `{${Object.entries(request).map((field) => field.map((part) => JSON.stringify(part)).join(': ')).join(', ')}}`;

/** The command refers to the token by its variable, so that it can be shared. */
export function curl(sent) {
  return [
    `curl -s ${quoted(address('predict?explain=true'))}`,
    ...(token.get() ? ['-H "Authorization: Bearer $ML_ASSETS_API_TOKEN"'] : []),
    "-H 'Content-Type: application/json'",
    `-d ${quoted(sent)}`,
  ].join(' \\\n  ');
}

export async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // Browsers have no clipboard for pages served over plain HTTP by other machines.
    getSelection().selectAllChildren(code);
    return document.execCommand('copy');
  }
}
