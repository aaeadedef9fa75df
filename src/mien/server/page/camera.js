// Cameras: open one, list them, and say in words why there is none.

/** The stream of a camera; the browser asks for permission. Throws what `cameraTrouble` explains. */
export async function openCamera(deviceId = "") {
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "InsecureContext");
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
  const video = { ...which, width: { ideal: 1280 }, height: { ideal: 720 } };
  return navigator.mediaDevices.getUserMedia({ video, audio: false });
}

/** The cameras of this device: `{id, name}`. Names are known once one was opened. */
export async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === "videoinput")
    .map((device, i) => ({ id: device.deviceId, name: device.label || `Camera ${i + 1}` }));
}

/** Switch a camera off. */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

const TROUBLES = {
  NotFoundError: [
    "No camera found",
    "Connect one, or check that the system lets the browser see it. Pictures and videos can be "
      + "read without: see Files.",
  ],
  NotAllowedError: [
    "The camera was not allowed",
    "Allow it in the browser (the camera or lock sign beside the address), then start again.",
  ],
  NotReadableError: [
    "The camera is busy",
    "Another program seems to be using it. Close that one, then start again.",
  ],
  OverconstrainedError: ["This camera is gone", "Connect it again, or try another one."],
  InsecureContext: [
    "The browser keeps the camera from this page",
    "Browsers give cameras only to pages over HTTPS or from this very machine (localhost). Open "
      + "the page there, or put the server behind HTTPS.",
  ],
};

/** A title and a sentence for an error of `openCamera`. */
export function cameraTrouble(error) {
  return TROUBLES[error.name] ?? ["The camera did not start", error.message || error.name];
}
