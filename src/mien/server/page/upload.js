// Sends a file to the server and says how far it is. (`fetch` cannot tell.)

import { address, ApiError, reasonOf } from "./api.js";

/** Resolves to the server's answer. `progress(share)` is called on the way; `signal` stops it. */
export function upload(path, file, progress, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted(); // while access was asked for
    const form = new FormData();
    form.append("file", file, file.name);
    const sender = new XMLHttpRequest();
    sender.open("POST", address(path));
    sender.responseType = "json";
    sender.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : null);
    sender.onload = () => {
      const { status, response } = sender;
      if (status >= 200 && status < 300) resolve(response);
      else reject(new ApiError(reasonOf(response, status), status));
    };
    sender.onerror = () =>
      reject(new ApiError("The upload broke off. Check that the server is running, then try again."));
    sender.onabort = () => reject(new DOMException("", "AbortError"));
    signal.addEventListener("abort", () => sender.abort());
    sender.send(form);
  });
}
