// The room for files: takes them in, and hands pictures and videos to those who show them.

import { dismissible, get } from "./dom.js";
import { takeDrops } from "./intake.js";
import { Jobs } from "./jobs.js";
import { Pictures } from "./pictures.js";

const PICTURES = /\.(jpe?g?|jfif|png|webp|avif|hei[cf]|bmp|tiff?|p[gp]m)$/i;
const VIDEOS = /\.(mp4|m4v|mov|avi|mkv|webm|flv|wmv|mpe?g|ts|gif)$/i;

/** Bring the room to life. */
export function startFiles() {
  const pictures = new Pictures(get("pictures"));
  const jobs = new Jobs(get("jobs"), get("video"));
  const take = (files) => sort(files, pictures, jobs);
  get("drop-hint").textContent = "Pictures are looked at and forgotten. A video stays on the server, "
    + "with its results, until you delete it or its time there is over.";
  get("choose").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = ""; // the same file may be chosen again
  });
  takeDrops(get("files"), get("drop"), take);
  return { enter: () => jobs.show(), leave: () => jobs.pause() };
}

function sort(files, pictures, jobs) {
  const kind = (file) => {
    if (VIDEOS.test(file.name) || file.type.startsWith("video/")) return "video";
    return PICTURES.test(file.name) || file.type.startsWith("image/") ? "picture" : "other";
  };
  const of = (wanted) => files.filter((file) => kind(file) === wanted);
  get("files-status").replaceChildren(
    ...of("other").map((file) =>
      dismissible("error", `${file.name}: not a picture or video`, "Expected JPEG, PNG, WebP, AVIF, "
        + "HEIF, BMP, TIFF, or a video such as MP4, MOV, MKV or WebM.")),
  );
  if (of("picture").length) pictures.add(of("picture"));
  for (const file of of("video")) jobs.upload(file, get("hide-faces").checked);
}
