// The videos on the server, page by page.

import { request } from "./api.js";

const WHEN = { dateStyle: "medium", timeStyle: "short" };
const PAGE = 100; // as many as the server lists at a time

/** The newest videos, `count` at most, and whether there are `more`. */
export async function newestVideos(count) {
  const videos = [];
  for (let before = ""; ; ) {
    const limit = Math.min(PAGE, count - videos.length);
    const page = await (await request(`v1/videos?limit=${limit}${before}`)).json();
    videos.push(...page.videos);
    const more = (page.next ?? null) !== null;
    if (!more || videos.length >= count) return { videos, more };
    before = `&before=${page.next}`;
  }
}

/** When a video was sent, in words. */
export function sent({ created_s: created }) {
  return new Date(1000 * created).toLocaleString(undefined, WHEN);
}
