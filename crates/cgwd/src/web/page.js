// The status page: asks for /overview.json once a second and keeps the page up to date in place, so that a selection,
// a screen reader's position and the scroll survive. Text only ever becomes text.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const STEP_MS = 1000;
const PATIENCE_MS = 5000;
const STAGES = ["ike", "ipsec", "tunnel", "bgp"];
const NAMES = { ike: "IKE", ipsec: "IPsec", tunnel: "Tunnel", bgp: "BGP" };
const VERDICTS = {
  full: ["good", "all tunnels are up"],
  degraded: ["fair", "degraded: not all tunnels are up"],
  none: ["bad", "down: a connection has no tunnel up"],
};

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function drawing(name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// Only what differs is touched.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// Two units at most, as `cgwd status` writes them.
function span(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor(whole / 60) % 60)} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

function octets(count) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (count < 1000) return `${unit === "B" ? Math.round(count) : count.toFixed(1)} ${unit}`;
    count /= 1000;
  }
  return `${count.toFixed(1)} TB`;
}

const milliseconds = (ms) => (ms == null ? "–" : `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`);
const percent = (ratio) => (ratio == null ? "–" : `${(ratio * 100).toFixed(ratio > 0 && ratio < 0.1 ? 1 : 0)} %`);

// A line over the samples with the area below it; a gap where nothing was measured.
function chart(label) {
  const width = 180, height = 40;
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", class: "chart" });
  const area = drawing("path", { class: "area" });
  const line = drawing("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  svg.append(drawing("path", { class: "base", d: `M0 ${height - 0.5}H${width}`, "vector-effect": "non-scaling-stroke" }), area, line);
  const value = element("span", { class: "value" });
  const top = element("span", { class: "top quiet" });
  const node = element("div", { class: "metric" }, element("div", { class: "caption" }, element("span", { class: "label" }, label), value), svg, top);
  const update = (samples, text, least, show) => {
    const known = samples.filter((sample) => sample != null);
    const most = Math.max(least, ...known);
    const x = (index) => width - (samples.length - 1 - index);
    const y = (sample) => (height - 1 - (sample / most) * (height - 3)).toFixed(1);
    let path = "", fill = "", start = null;
    samples.forEach((sample, index) => {
      if (sample == null) { start = null; return; }
      path += `${start == null ? "M" : "L"}${x(index)} ${y(sample)}`;
      if (start == null) { start = x(index); fill += `M${start} ${height}`; }
      fill += `L${x(index)} ${y(sample)}`;
      if (index + 1 === samples.length || samples[index + 1] == null) fill += `V${height}Z`;
    });
    mark(line, "d", path);
    mark(area, "d", fill);
    say(value, text);
    const peak = known.length ? Math.max(...known) : null;
    say(top, peak == null ? "no samples" : `max ${show(peak)}`);
    mark(svg, "aria-label", `${label}: ${text}, ${peak == null ? "no samples" : `at most ${show(peak)} in the last three minutes`}`);
  };
  return { node, update };
}

function fact(list, title) {
  const value = element("dd");
  const row = element("div", {}, element("dt", {}, title), value);
  list.append(row);
  return (text) => {
    row.hidden = text == null;
    say(value, text ?? "");
  };
}

function card(tunnel) {
  const title = element("h3", {}, tunnel.name);
  const badges = element("span", { class: "badges" });
  const stage = element("p", { class: "stage" });
  const lights = element("ul", { class: "lights", "aria-label": "Stages" });
  const shown = {};
  for (const name of STAGES) {
    const state = element("span", { class: "state" });
    const item = element("li", {}, element("span", { class: "lamp", "aria-hidden": "true" }), `${NAMES[name]} `, state);
    lights.append(item);
    shown[name] = { item, state };
  }
  const problem = element("div", { class: "problem" });
  const problemText = element("p"), remedy = element("p", { class: "remedy" });
  problem.append(problemText, remedy);
  const charts = { rtt: chart("Round trip"), loss: chart("Loss"), rx: chart("In"), tx: chart("Out") };
  const metrics = element("div", { class: "metrics" }, ...Object.values(charts).map((one) => one.node));
  const list = element("dl", { class: "facts" });
  const facts = {};
  for (const [key, name] of [["address", "Addresses"], ["ike", "IKE SA"], ["child", "IPsec SA"], ["algorithms", "Algorithms"], ["bgp", "BGP"], ["traffic", "Traffic"], ["drops", "Dropped"]]) {
    facts[key] = fact(list, name);
  }
  const node = element("article", { class: "card" }, element("div", { class: "head" }, title, badges), stage, lights, problem, metrics, list);
  return { node, badges, stage, shown, problem, problemText, remedy, charts, facts };
}

// How many lamps shine at each stage. `tunnel` says that packets arrive while the inside address does not answer
// reliably: its lamp is not lit yet.
const LIT = { down: 0, ike: 1, ipsec: 2, tunnel: 2, bgp: 3, up: 4 };

function lights(view, tunnel, routing) {
  const lit = LIT[tunnel.stage];
  STAGES.forEach((name, index) => {
    const { item, state } = view.shown[name];
    item.hidden = name === "bgp" && routing !== "bgp";
    const failing = tunnel.last_error && tunnel.since_seconds > 5;
    const next = failing ? ["bad", "failing"] : ["fair", "in progress"];
    const [kind, word] = index < lit ? ["good", "ok"] : index === lit ? next : ["off", "waiting"];
    mark(item, "class", kind);
    say(state, word);
  });
}

function badges(view, tunnel) {
  const words = [];
  if (tunnel.egress) words.push(["egress", "→ egress"]);
  if (tunnel.drained) words.push(["drained", "drained"]);
  const key = words.map((word) => word[0]).join(" ");
  if (view.badges.dataset.key === key) return;
  view.badges.dataset.key = key;
  view.badges.replaceChildren(...words.map(([kind, text]) => element("span", { class: `badge ${kind}` }, text)));
}

function update(view, tunnel, routing, history) {
  const up = tunnel.stage === "up";
  badges(view, tunnel);
  mark(view.node, "data-health", up ? "good" : tunnel.stage === "down" ? "bad" : "fair");
  say(view.stage, up ? `up for ${span(tunnel.since_seconds)}` : `not up, at stage ${tunnel.stage} for ${span(tunnel.since_seconds)}`);
  lights(view, tunnel, routing);
  const error = tunnel.last_error;
  view.problem.hidden = up || !error;
  if (!up && error) {
    say(view.problemText, `${error.code} (${span(error.seconds_ago)} ago): ${error.text}`);
    say(view.remedy, error.remedy || "");
  }
  const last = (list) => (list && list.length ? list[list.length - 1] : null);
  const past = history || { rtt_ms: [], loss_ratio: [], rx_bytes_per_second: [], tx_bytes_per_second: [] };
  const rate = (count) => `${octets(count || 0)}/s`;
  view.charts.rtt.update(past.rtt_ms, milliseconds(last(past.rtt_ms)), 1, milliseconds);
  view.charts.loss.update(past.loss_ratio, percent(last(past.loss_ratio)), 0.2, percent);
  view.charts.rx.update(past.rx_bytes_per_second, rate(last(past.rx_bytes_per_second)), 1000, rate);
  view.charts.tx.update(past.tx_bytes_per_second, rate(last(past.tx_bytes_per_second)), 1000, rate);
  facts(view.facts, tunnel);
}

function facts(show, tunnel) {
  const { ike, child, bgp } = tunnel;
  show.address(`AWS ${tunnel.outside_ip}, ${tunnel.interface} ${tunnel.inside_ip || "without inside address"}, MTU ${tunnel.mtu}`);
  show.ike(ike && ike.proposal ? `${span(ike.established_seconds)} old, rekey in ${span(ike.rekey_in_seconds)}, ${ike.rekeys} so far` : null);
  show.child(child ? `${span(child.established_seconds)} old, rekey in ${span(child.rekey_in_seconds)}, ${child.rekeys} so far` : null);
  show.algorithms(child && ike ? `IKE ${ike.proposal}${ike.ppk ? " with PPK" : ""}, ESP ${child.proposal} in ${child.encapsulation === "udp" ? "UDP 4500" : "protocol 50"}` : null);
  show.bgp(bgp ? `${bgp.state}${bgp.uptime_seconds == null ? "" : ` for ${span(bgp.uptime_seconds)}`} with AS ${bgp.asn}: ${bgp.received} prefixes in, ${bgp.accepted} used, ${bgp.advertised} out` : null);
  show.traffic(child ? `${octets(child.rx_bytes)} in, ${octets(child.tx_bytes)} out` : null);
  const drops = child ? Object.entries(child.drops).filter(([, count]) => count > 0) : [];
  show.drops(drops.length ? drops.map(([reason, count]) => `${reason.replace("_", " ")} ${count}`).join(", ") : null);
}

const cards = new Map();
let shape = "";

function connections(overview) {
  const keys = overview.status.connections.map((one) => [one.id, one.routing, ...one.tunnels.map((tunnel) => tunnel.name)]);
  if (JSON.stringify(keys) !== shape) {
    shape = JSON.stringify(keys);
    cards.clear();
    byId("connections").replaceChildren(...overview.status.connections.map((connection) => {
      const grid = element("div", { class: "grid" });
      for (const tunnel of connection.tunnels) {
        const view = card(tunnel);
        cards.set(`${connection.id}/${tunnel.name}`, view);
        grid.append(view.node);
      }
      const kind = element("small", { class: "quiet" }, connection.routing === "bgp" ? "BGP" : "static routes");
      return element("section", { "aria-label": `Connection ${connection.id}` }, element("h2", {}, `${connection.id} `, kind), grid);
    }));
  }
  for (const connection of overview.status.connections) {
    for (const tunnel of connection.tunnels) {
      const past = overview.history.tunnels.find((one) => one.connection === connection.id && one.tunnel === tunnel.name);
      update(cards.get(`${connection.id}/${tunnel.name}`), tunnel, connection.routing, past);
    }
  }
}

let newest = "";

function events(list) {
  const key = list.length ? `${list[0].id} ${list[list.length - 1].id} ${list[0].time}` : "";
  if (key === newest) return;
  newest = key;
  byId("events").replaceChildren(...list.slice().reverse().map((event) => {
    const time = new Date(event.time);
    const shown = element("time", { datetime: event.time, title: event.time }, time.toLocaleTimeString([], { hour12: false }));
    const took = event.took_ms == null ? "" : ` (${event.took_ms < 1000 ? milliseconds(event.took_ms) : event.took_ms < 60000 ? `${(event.took_ms / 1000).toFixed(1)} s` : span(event.took_ms / 1000)})`;
    return element("tr", {}, element("td", {}, shown), element("td", {}, event.tunnel || event.connection || "–"), element("td", {}, element("code", {}, event.code)), element("td", {}, event.text + took));
  }));
}

function verdict(status) {
  const [kind, text] = VERDICTS[status.redundancy];
  mark(byId("verdict"), "class", `verdict ${kind}`);
  say(byId("verdict"), text);
  say(byId("version"), status.version);
  say(byId("age"), `running for ${span(status.uptime_seconds)}`);
  document.title = `${{ good: "●", fair: "◐", bad: "✕" }[kind]} ${text} – cgwd`;
}

function unreachable(why) {
  mark(byId("verdict"), "class", "verdict bad");
  say(byId("verdict"), "the daemon is not reachable");
  document.title = "✕ not reachable – cgwd";
  const banner = byId("banner");
  banner.hidden = false;
  say(banner, `The daemon does not answer (${why}); what stands below is old. Trying again.`);
  document.body.classList.add("stale");
}

async function look() {
  try {
    const response = await fetch("/overview.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const overview = await response.json();
    byId("banner").hidden = true;
    document.body.classList.remove("stale");
    verdict(overview.status);
    connections(overview);
    events(overview.events.events);
  } catch (error) {
    unreachable(error.name === "TypeError" ? "no connection" : error.message);
  }
  setTimeout(look, document.hidden ? 10 * STEP_MS : STEP_MS);
}

look();
