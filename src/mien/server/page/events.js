// Reads the events that the server sends while it works (text/event-stream).

import { ApiError, request } from "./api.js";

/** Call `take(data)` for every event until the stream ends. */
export async function follow(path, take) {
  const response = await request(path, { headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read().catch(() => {
      throw new ApiError("The connection broke off. The server goes on: see the list below.");
    });
    if (done) return;
    text += value.replaceAll("\r", "");
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) take(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
    }
  }
}
