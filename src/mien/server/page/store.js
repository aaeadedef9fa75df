// Recorded sessions, kept in this browser (IndexedDB): figures only, never a picture.

const NAME = "mien";
let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("sessions", { keyPath: "id" });
      request.result.createObjectStore("parts", { keyPath: ["id", "part"] });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run one transaction; resolves to what `act`'s request gave once everything is written. */
async function run(mode, act) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(["sessions", "parts"], mode);
    const request = act(transaction.objectStore("sessions"), transaction.objectStore("parts"));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

const partsOf = (id) => IDBKeyRange.bound([id], [id, Infinity]);

/** Write a session's head: `{id, name, begun, frames, seconds, faces}`. */
export function keepSession(head) {
  return run("readwrite", (sessions) => sessions.put(head));
}

/** Add the next results of a session, whose head now counts them: both, or neither. */
export function keepPart(head, part, results) {
  return run("readwrite", (sessions, parts) => {
    sessions.put(head);
    return parts.put({ id: head.id, part, results });
  });
}

/** The heads of all sessions, the newest first. */
export async function listSessions() {
  const heads = await run("readonly", (sessions) => sessions.getAll());
  return heads.sort((a, b) => (a.begun < b.begun ? 1 : -1));
}

/** All results of a session, in order. */
export async function sessionResults(id) {
  const parts = await run("readonly", (_, stored) => stored.getAll(partsOf(id)));
  return parts.flatMap((part) => part.results);
}

/** Remove a session for good. */
export function deleteSession(id) {
  return run("readwrite", (sessions, parts) => {
    parts.delete(partsOf(id));
    return sessions.delete(id);
  });
}
