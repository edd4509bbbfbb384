// The same request as a command for a shell.

import { address, token } from './service.js';

const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** JSON with a space after each colon and comma, as people write it. */
export const body = (request) =>
  `{${Object.entries(request).map((field) => field.map((part) => JSON.stringify(part)).join(': ')).join(', ')}}`;

/** The token itself stays out of it: a command is copied into chats and histories. */
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
    // Browsers have no clipboard for pages that come over plain HTTP from another machine.
    getSelection().selectAllChildren(code);
    return document.execCommand('copy');
  }
}
