// The server: calls, server-sent events, and what is said of what goes wrong.

export const ROOT = new URL(".", location.href); // addresses are relative: the server may be behind a path

/** Something that is told to the user as it stands. */
export class Problem extends Error {}

class Refused extends Problem {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.about = `${error.param ?? ""} ${error.message}`;
  }
}

export async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, ROOT), options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem("The server cannot be reached.\nSee whether it still runs.");
  }
  if (!response.ok) throw new Refused(response.status, await refusal(response));
  return response;
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    if (typeof error.message === "string") return error;
  } catch {
    // not ours: something between here and the server has answered
  }
  return { message: `The server answered with status ${response.status}.` };
}

export const post = (path, body, options = {}) =>
  call(path, {
    method: "POST",
    body: body && JSON.stringify(body),
    ...options,
    headers: { ...(body && { "Content-Type": "application/json" }), ...options.headers },
  });

/** The data of server-sent events, as many at a time as arrived together. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      yield blocks.map(dataOf).filter((data) => data !== "");
    }
  } finally {
    reader.cancel().catch(() => {}); // who reads no further lets the server know
  }
}

function dataOf(block) {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}

export function parsed(data) {
  const event = JSON.parse(data);
  if (event.error) throw new Problem(event.error.message ?? "The server broke the answer off.");
  return event;
}

/** What to tell of an error: our own words, or that the connection broke. */
export function words(error) {
  if (error instanceof Problem) return error.message;
  console.error(error);
  return "The connection broke before the end.";
}
