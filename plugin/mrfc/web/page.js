"use strict";
// Looks at the MRFC every two seconds and writes down what it finds. All text goes in as text, never as markup.

const PERIOD = 2000;
let shown = "";

const element = (name, text = "", kind = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
};

const get = async (path) => {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};

const table = (into, names, rows, none) => {
  into.replaceChildren();
  if (!rows.length) {
    const cell = into.insertRow().insertCell();
    cell.append(element("span", none, "empty"));
    return;
  }
  const head = into.createTHead().insertRow();
  for (const name of names) head.append(element("th", name));
  const body = into.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) line.insertCell().append(cell);
  }
};

const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

const person = (who) => (who ? `${who.uri || "somebody"} (${who.user})` : "");

const people = (list, kind) => {
  const cell = element("span");
  list.forEach((who, at) => {
    if (at) cell.append(element("br"));
    cell.append(element("span", person(who), kind));
  });
  if (!list.length) cell.append(element("span", "–", "empty"));
  return cell;
};

const conferenceBox = (conference, calls, floors) => {
  const box = element("article", "", "conference");
  const title = element("h3", `${conference.user} `);
  const where = conference.mrfp ? `on ${conference.mrfp}, context ${conference.context}` : "idle";
  title.append(element("span", `BFCP ${conference.id}, ${where}`, "about"));
  box.append(title);
  const held = element("table");
  table(held, ["Floor", "Held by", "Waiting", "Chair"], floors.map((floor) => [
    String(floor.floor),
    people(floor.holders, "holder"),
    people([...floor.queue, ...floor.pending], "queued"),
    person(floor.chair),
  ]), "no floor in use");
  const inside = element("table");
  table(inside, ["User", "Participant", "State"], calls.map((call) => [
    String(call.user), call.remote, call.state,
  ]), "nobody is in");
  box.append(held, inside);
  return box;
};

const showLadder = (callId) => {
  shown = callId;
  const picture = element("img");
  picture.alt = `ladder diagram of call ${callId}`;
  picture.src = `/ladders/${encodeURIComponent(callId)}.svg`;
  document.getElementById("ladder-name").textContent = `Call-ID ${callId}, as the MRFC saw it`;
  document.getElementById("ladder").replaceChildren(picture);
  mark();
};

const mark = () => {
  for (const button of document.querySelectorAll("#recent button")) {
    button.setAttribute("aria-pressed", String(button.dataset.call === shown));
  }
};

const showRecent = (callIds) => {
  const list = document.getElementById("recent");
  list.replaceChildren(...callIds.slice(0, 30).map((callId) => {
    const button = element("button", callId.length > 40 ? `${callId.slice(0, 39)}…` : callId);
    button.type = "button";
    button.dataset.call = callId;
    button.addEventListener("click", () => showLadder(callId));
    const item = element("li");
    item.append(button);
    return item;
  }));
  if (!callIds.length) list.append(element("li", "none yet", "empty"));
  mark();
};

const showMrfps = (mrfps) => {
  table(document.getElementById("mrfps"), ["Name", "Address", "State", "Terminations"], mrfps.map((mrfp) => [
    mrfp.mrfp,
    mrfp.address,
    mrfp.in_service ? "in service" : element("span", "out of service", "down"),
    String(mrfp.terminations),
  ]), "no MRFP is registered: participants are answered with 503");
};

const look = async () => {
  const trouble = document.getElementById("trouble");
  try {
    const [status, conferences, calls, floors, mrfps, recent] = await Promise.all(
      ["/status", "/conferences", "/calls", "/floors", "/mrfps", "/traces"].map(get));
    document.getElementById("summary").textContent =
      [count(status.calls, "call"), count(status.conferences, "conference"), count(status.mrfps, "MRFP")]
        .join(", ") + (status.draining ? " – draining: no new calls" : "");
    const busy = (conference) => (conference.participants ? 0 : 1);
    document.getElementById("conferences").replaceChildren(...conferences
      .sort((one, other) => busy(one) - busy(other))
      .map((conference) => conferenceBox(
        conference,
        calls.filter((call) => call.conference === conference.user),
        floors.filter((floor) => floor.conference === conference.user))));
    showMrfps(mrfps);
    showRecent(recent);
    trouble.hidden = true;
  } catch (error) {
    trouble.textContent = `The MRFC does not answer (${error.message}). What is below may be old.`;
    trouble.hidden = false;
  }
  document.body.dataset.looked = String(Number(document.body.dataset.looked || 0) + 1);
  setTimeout(look, PERIOD);
};

document.addEventListener("DOMContentLoaded", () => {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("call");
  if (wanted) showLadder(wanted);
  look();
});
