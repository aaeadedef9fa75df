// The live room: camera, connection and what is drawn of their answers.

import { Bars } from "./bars.js";
import { cameras, cameraTrouble, closeCamera, openCamera } from "./camera.js";
import { LiveConnection } from "./connection.js";
import { Crowd } from "./crowd.js";
import { announce, button, dismissible, get, make, notice } from "./dom.js";
import { EXPRESSIONS } from "./expressions.js";
import { drawFaces, faceAt } from "./overlay.js";
import { Pace } from "./pace.js";
import { Pump } from "./pump.js";
import { startRecordings } from "./recordings.js";

const BASELINE_S = 3;
const TELL_MS = 2000; // for so long it stands there that a baseline is set
const HOLD_MS = 3000; // an answer holds until the next one, but not longer than this (as in strips)
const BLINK_S = 0.5; // a face may be missed for so long before its figures go
const REFUSED = { baseline: "No baseline was set", frame: "The server refused a frame" };
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** Bring the room to life. */
export function startLive() {
  const room = new Live();
  get("privacy").replaceChildren(...privacy());
  get("start").addEventListener("click", () => room.start());
  get("stop").addEventListener("click", () => {
    room.stop();
    get("start").focus();
  });
  get("pause").addEventListener("click", () => room.pause());
  get("mirror").addEventListener("click", () => room.setMirror(!room.mirrored));
  get("baseline").addEventListener("click", () => room.learnBaseline());
  get("record").addEventListener("click", () => room.record());
  get("choose-camera").addEventListener("change", (event) => room.start(event.target.value));
  get("camera-faces").addEventListener("click", (event) => room.choose(event));
  get("camera").addEventListener("resize", () => room.fit());
  new ResizeObserver(() => room.draw()).observe(get("stage"));
  // The camera is on only while its picture is to be seen.
  return { enter: () => room.recordings.show(), leave: () => room.stop() };
}

function privacy() {
  const here = LOCAL.includes(location.hostname);
  const where = here ? "this computer" : location.hostname;
  return [
    "Nothing leaves the machine that runs this server (",
    make("strong", {}, where),
    "). Pictures go there, are looked at and forgotten. Nothing is kept unless you press Record, and "
      + "then only figures, in this browser.",
  ];
}

class Live {
  constructor() {
    this.bars = new Bars();
    this.bars.show(null, "", "Nobody yet");
    get("reading").append(this.bars.element);
    this.crowd = new Crowd(get("faces"), get("minute"), () => this.draw());
    this.pace = new Pace();
    this.recordings = startRecordings();
    this.mirrored = true;
    this.frame = null;
    this.refused = null; // what says that a frame was refused, until another is read
    this.resting = null; // a baseline that is being learned: {seconds, end_s}
    this.turn = 0; // of the camera: what an earlier one was waiting for no longer counts
  }

  /** Open the camera, then the connection. */
  async start(deviceId = "") {
    this.stop();
    const turn = this.turn;
    get("live-note").replaceChildren();
    get("start").disabled = true;
    get("start").textContent = "Waiting for the camera…";
    try {
      const stream = await openCamera(deviceId);
      if (turn !== this.turn) {
        closeCamera(stream); // allowed too late: the reader has stopped it or left
        return;
      }
      this.stream = stream;
      get("camera").srcObject = stream;
      await get("camera").play();
      if (turn !== this.turn) return;
    } catch (error) {
      if (turn !== this.turn) return;
      this.stop();
      this.refuse(error);
      return;
    }
    this.rest();
    this.stream.getVideoTracks()[0].addEventListener("ended", () => {
      this.cutRecording();
      this.stop();
      this.refuse(new DOMException("", "OverconstrainedError"));
    });
    this.begin();
    await this.listCameras();
  }

  /** The button waits for nothing. */
  rest() {
    get("start").disabled = false;
    get("start").textContent = "Start the camera";
  }

  refuse(error) {
    const [title, text] = cameraTrouble(error);
    const again = button("Try again", () => this.start(), "primary");
    const files = make("a", { class: "button", href: "#files" }, "Read files instead");
    const held = document.activeElement; // perhaps a button that is gone with the camera
    this.note(notice("error", title, text, again, files));
    if (held === document.body || held.closest("#stage, #toolbar")) again.focus();
    this.bars.show(null, "", "No camera");
  }

  /** The camera runs: connect. */
  begin() {
    this.fit();
    get("stage").classList.add("on");
    get("live").classList.remove("idle");
    for (const id of ["pause", "stop", "choose-camera"]) get(id).disabled = false;
    this.crowd.clear(EXPRESSIONS);
    this.bars.show(null, "", "Connecting…");
    this.connection = new LiveConnection({
      hello: (message) => this.hello(message),
      result: (message, latency) => this.result(message, latency),
      said: (message) => this.said(message),
      error: (message) => this.trouble(message),
      denied: (text) => this.deny(text),
      lost: (seconds, reason) => this.lost(seconds, reason),
      slept: () => this.slept(),
    });
    this.pump = new Pump(get("camera"), this.connection);
    this.setMirror(this.stream.getVideoTracks()[0].getSettings().facingMode !== "environment");
    get("pause").focus({ preventScroll: true });
    announce("The camera is on");
  }

  /** The stage takes the camera's form, also when a phone is turned. */
  fit() {
    const { videoWidth, videoHeight } = get("camera");
    if (videoWidth) get("stage").style.aspectRatio = `${videoWidth} / ${videoHeight}`;
  }

  stop() {
    this.turn += 1;
    this.rest();
    if (this.recording) this.record();
    clearTimeout(this.holding);
    this.pump?.stop();
    this.connection?.close();
    closeCamera(this.stream);
    this.endBaseline();
    this.pump = this.connection = this.stream = this.frame = null;
    get("camera").srcObject = null;
    get("stage").classList.remove("on");
    get("stage").style.aspectRatio = "";
    get("live").classList.add("idle");
    for (const id of ["pause", "stop", "choose-camera", "baseline", "record"]) get(id).disabled = true;
    this.press("pause", false, "Pause");
    this.pace.clear();
    this.bars.show(null, "", "Nobody yet");
    this.crowd.clear(EXPRESSIONS);
    this.draw();
  }

  async listCameras() {
    const list = get("choose-camera");
    const current = this.stream?.getVideoTracks()[0].getSettings().deviceId;
    const found = await cameras();
    list.replaceChildren(
      ...found.map(({ id, name }) => make("option", { value: id, selected: id === current }, name)),
    );
    list.parentElement.hidden = found.length < 2;
  }

  /** Say something above the picture. That a recording was cut short stands there until it is put away. */
  note(...notices) {
    get("live-note").replaceChildren(...notices, ...get("live-note").querySelectorAll(".cut"));
  }

  hello(message) {
    clearTimeout(this.holding);
    this.note();
    get("model").textContent = message.model;
    for (const id of ["baseline", "record"]) get(id).disabled = false;
    this.pump?.limit(message);
    this.crowd.clear(message.labels);
    this.bars.show(null, "", "Looking…");
  }

  result(message, latency) {
    if (!this.pump || this.pump.paused) return;
    this.refused?.remove();
    this.refused = null;
    this.frame = message.result;
    this.recording?.add(message.result);
    this.pace.add(message, latency);
    this.crowd.see(message.result);
    this.countDown(message.result);
    this.draw();
    this.hold();
    if (this.recording) this.recordings.tick(this.recording);
  }

  /** Let the newest answer hold for a while. The picture goes on where answers stall. */
  hold() {
    clearTimeout(this.holding);
    this.holding = setTimeout(() => this.pump?.paused || this.unanswered(), HOLD_MS);
  }

  /** What was answered last says nothing about the picture that is shown now. */
  unanswered() {
    this.frame = null;
    this.draw();
    this.bars.show(null, "", "No answer");
  }

  /** Draw the newest answer: boxes, and the figures of the chosen face. */
  draw() {
    const index = this.frame ? this.crowd.chosenIndex(this.frame) : -1;
    drawFaces(get("camera-faces"), this.frame, { chosen: index, mirror: this.mirrored });
    if (!this.frame) return;
    const face = this.frame.faces[index];
    if (!face && this.crowd.unseen_s(this.frame) < BLINK_S) return;
    this.bars.show(face, face ? `Face ${face.track_id}` : "");
  }

  said(message) {
    if (message.type === "baseline") this.beginBaseline(message.seconds);
    if (message.type === "baseline_set") this.baselineSet(message.track_ids);
  }

  /** The server refused something, but the connection holds. */
  trouble({ message, about }) {
    const title = REFUSED[about] ?? "The server refused";
    const box = notice("error", title, message);
    if (about === "frame") this.refused = box;
    this.note(box);
  }

  /** Without its key the server answers nothing. */
  deny(text) {
    this.stop();
    const again = button("Try again", () => this.start(), "primary");
    this.note(notice("error", "The server does not let you in", text, again));
  }

  lost(seconds, reason) {
    this.unanswered();
    this.endSession();
    const text = `${reason || "The connection broke off."} Trying again in ${seconds} s.`;
    const now = button("Try now", () => this.connection?.open());
    this.note(notice("error", "No connection to the server", text, now));
  }

  /** Nothing was sent for so long that the server let go. The next picture calls it again. */
  slept() {
    this.endSession();
    this.note(notice("empty", "The connection rests",
      "The server closes those that send nothing for a while. It is opened again when you go on."));
  }

  /** Faces get new numbers after this: what goes by numbers ends. */
  endSession() {
    this.cutRecording();
    this.endBaseline();
    for (const id of ["baseline", "record"]) get(id).disabled = true;
  }

  pause() {
    if (!this.pump) return;
    this.pump.paused = !this.pump.paused;
    if (this.pump.paused) get("camera").pause();
    else get("camera").play();
    if (!this.pump.paused) this.hold();
    this.press("pause", this.pump.paused, this.pump.paused ? "Go on" : "Pause");
    announce(this.pump.paused ? "Paused" : "Going on");
  }

  /** A button that says what it does now. */
  press(id, pressed, text) {
    get(id).classList.toggle("on", pressed);
    get(id).textContent = text;
  }

  /** People know themselves mirrored; what is before them they do not. */
  setMirror(on) {
    this.mirrored = on;
    get("mirror").setAttribute("aria-pressed", on);
    get("stage").classList.toggle("plain", !on);
    this.draw();
  }

  choose(event) {
    const index = faceAt(get("camera-faces"), event, this.frame, this.mirrored);
    if (index >= 0) this.crowd.choose(this.frame.faces[index].track_id);
  }

  /** Three seconds of a neutral face, against which this person's other faces are then read. */
  learnBaseline() {
    if (this.resting) return;
    this.note();
    this.connection.ask({ type: "baseline", seconds: BASELINE_S });
  }

  /** The server takes the next face it sees for a neutral one, for so long. */
  beginBaseline(seconds) {
    this.endBaseline();
    this.resting = { seconds, end_s: null };
    get("countdown").textContent = "Look into the camera";
    get("countdown").hidden = false;
    announce(`Look neutral for ${seconds} seconds`);
  }

  /** How long it still does, by the time of the frames. */
  countDown({ time_s, faces }) {
    if (!this.resting) return;
    if (faces.length) this.resting.end_s ??= time_s + this.resting.seconds;
    const { end_s } = this.resting;
    if (end_s === null) return;
    get("countdown").textContent = `Look neutral: ${Math.max(1, Math.ceil(end_s - time_s))}`;
  }

  baselineSet(numbers) {
    this.endBaseline();
    const said = numbers.length ? `The baseline is set for face ${numbers.join(", ")}` : "No baseline is set";
    announce(said);
    get("countdown").textContent = said;
    get("countdown").hidden = false;
    this.telling = setTimeout(() => this.endBaseline(), TELL_MS);
  }

  endBaseline() {
    clearTimeout(this.telling);
    this.resting = null;
    get("countdown").hidden = true;
  }

  /** End a recording that nobody stopped, and say so. */
  cutRecording() {
    if (!this.recording) return;
    this.record();
    get("live-note").append(dismissible("empty cut", "The recording ended",
      "It could not go on from here. What was recorded until then is kept below."));
  }

  async record() {
    if (!this.recording) {
      for (const cut of get("live-note").querySelectorAll(".cut")) cut.remove();
      this.recording = this.recordings.begin();
      this.press("record", true, "Stop recording");
      announce("Recording");
      return;
    }
    const recording = this.recording;
    this.recording = null;
    this.press("record", false, "Record");
    await this.recordings.end(recording);
    announce(`Recorded ${recording.results.length} frames`);
  }
}
