// Talks to the server: requests, their failures in words, the key where one is asked for.

const RETRY_S = 5; // where the server does not say

const NO_COOKIE =
  "The browser keeps no cookie of this site, and the key was taken in vain. Allow cookies for it, " +
  "then try again.";

let askForKey = async () => null;

/**
 * A request failed; the message is fit to be read. `status` is 0 where nobody answered, and with 503
 * it may be made again after `retry_s` seconds.
 */
export class ApiError extends Error {
  constructor(message, status = 0, retry_s = RETRY_S) {
    super(message);
    Object.assign(this, { status, retry_s });
  }
}

/** Who asks the reader for a key: called with whether one was refused, resolves to it or to null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The address of something on this server, wherever the page is mounted. */
export function address(path) {
  return new URL(path, document.baseURI);
}

/** The same for a WebSocket. */
export function socketAddress(path) {
  const url = address(path);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** A request; asks for a key where the server wants one. Throws `ApiError`. */
export async function request(path, options = {}) {
  let response = await reach(path, options);
  if (response.status === 401 && (await signIn())) {
    response = await reach(path, options);
    if (response.status === 401) throw new ApiError(NO_COOKIE, 401);
  }
  if (response.ok) return response;
  const retry_s = Number(response.headers.get("Retry-After")) || RETRY_S;
  throw new ApiError(await reason(response), response.status, retry_s);
}

/** See to it that this browser may ask, before it opens what can carry no key (a WebSocket). */
export async function ensureAccess() {
  if (await isWelcome()) return;
  if (!(await signIn())) throw new ApiError("A key is needed.", 401);
  if (!(await isWelcome())) throw new ApiError(NO_COOKIE, 401);
}

/** Whether the server answers this browser, without a key or by the cookie for one. */
async function isWelcome() {
  const { signed_in: signedIn, key_required: required } = await (await request("v1/session")).json();
  return signedIn || !required;
}

let signing = null;

/** Ask for the key until it is right; whether it was given. All who need it wait for one answer. */
function signIn() {
  signing ??= exchangeKey().finally(() => (signing = null));
  return signing;
}

/** The server takes the key once and gives a cookie for it; the key itself is kept nowhere. */
async function exchangeKey() {
  for (let refused = false; ; refused = true) {
    const key = await askForKey(refused);
    if (!key) return false;
    const headers = headersWith(key);
    if (!headers) continue;
    const answer = await reach("v1/session", { method: "POST", headers });
    if (answer.ok) return true;
    if (answer.status !== 401) throw new ApiError(await reason(answer), answer.status);
  }
}

/** The headers that show a key; none for one that no header can hold: no server has such a key. */
function headersWith(key) {
  try {
    return new Headers({ Authorization: `Bearer ${key}` });
  } catch {
    return null;
  }
}

async function reach(path, options) {
  try {
    return await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Check that it is running, then try again.");
  }
}

/** What went wrong, in the server's own words where there are any. */
async function reason(response) {
  const body = await response.json().catch(() => null);
  return reasonOf(body, response.status);
}

/** The same for an answer that was read already. */
export function reasonOf(body, status) {
  const said = body?.error;
  if (typeof said !== "string" || !said) return `The server answered with ${status}.`;
  return said[0].toUpperCase() + said.slice(1);
}
