// How far the server is with videos: asked once a second, one after the other.
//
// A browser opens six connections to a server. A stream of events would hold one of them for as long
// as a video takes, and six videos would leave none for anything else.

import { request } from "./api.js";

const EVERY_MS = 1000;
const PATIENCE = 30; // so many times in a row without an answer: a network comes back, a queue ends

/** The states of a video with which nothing more is done. */
export const OVER = ["done", "failed", "cancelled"];

const followed = new Set();
let asking = false;

/** Call `tell(job)` with a video once a second until it is over; resolves to it as it then is. */
export function follow(id, tell) {
  return new Promise((resolve, reject) => {
    followed.add({ id, tell, resolve, reject, failures: 0 });
    if (!asking) askAll();
  });
}

async function askAll() {
  asking = true;
  for (;;) {
    for (const one of followed) await ask(one);
    if (!followed.size) break;
    await new Promise((wait) => setTimeout(wait, EVERY_MS));
  }
  asking = false;
}

async function ask(one) {
  try {
    const job = await (await request(`v1/videos/${one.id}`)).json();
    one.failures = 0;
    one.tell(job);
    if (!OVER.includes(job.state)) return;
    one.resolve(job);
  } catch (error) {
    const passes = error.status === 0 || error.status === 503;
    if (passes && ++one.failures < PATIENCE) return;
    one.reject(error);
  }
  followed.delete(one);
}
