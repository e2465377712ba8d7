"use strict";

// A telephone: one registration, one call at a time. What it shows is in #line (registration) and #call (call), each
// with its state by name in data-state.

const $ = (id) => document.getElementById(id);
const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
// Gathering ends when the browser says so, or this much after its first own address: an interface without a way out
// may keep it waiting for seconds.
const GATHERING_MS = 500;
const CAUSES = {
  "Busy": "busy", "Rejected": "declined", "Canceled": "cancelled", "No Answer": "no answer", "Not Found": "no such number",
  "Unavailable": "cannot be reached", "User Denied Media Access": "the microphone was not allowed", "Terminated": "ended",
  "Authentication Error": "the password was not accepted", "Request Timeout": "no reply", "Connection Error": "no connection",
  "RTP Timeout": "no sound came any more", "WebRTC Error": "the browser could not begin the sound",
};

let agent = null;      // JsSIP.UA
let socket = null;     // its JsSIP.WebSocketInterface
let session = null;    // the call there is
let clock = null;
let pitch = null;      // what stops the ringing tone

function show(id, state, text) {
  $(id).dataset.state = state;
  $(id).textContent = text;
}

function trouble(text) {
  $("trouble").textContent = text || "";
  $("trouble").hidden = !text;
}

const remembered = {
  get(name) { try { return localStorage.getItem("ringline.phone." + name); } catch { return null; } },
  set(name, value) { try { localStorage.setItem("ringline.phone." + name, value); } catch { /* private window */ } },
};

// ---- registration

function register(event) {
  event.preventDefault();
  trouble("");
  const user = $("user").value.trim(), domain = $("domain").value.trim(), server = $("server").value;
  let uri;
  try {
    uri = new JsSIP.URI("sip", user, domain).toString();
    socket = new JsSIP.WebSocketInterface(server);
    agent = new JsSIP.UA({
      sockets: [socket],
      uri, password: $("password").value, display_name: user, register_expires: 300, user_agent: "Ringline phone",
    });
  } catch {
    trouble("Extension and domain do not make a SIP address: test11 and test.ringline.test would.");
    return;
  }
  for (const name of ["user", "domain", "server"]) remembered.set(name, $(name).value.trim());
  show("line", "connecting", "Connecting to " + server);
  $("register").disabled = true;
  const mine = agent;
  const on = (name, handler) => mine.on(name, (...parts) => { if (mine === agent) handler(...parts); });
  on("connected", () => show("line", "registering", "Registering"));
  on("disconnected", ({ error }) => {
    if (!error) return;
    show("line", "failed", "No connection to " + server + "; trying again");
    if (server.startsWith("wss:")) certificateHint(server);
  });
  on("registered", () => {
    trouble("");
    show("line", "registered", "Registered as " + user);
    $("account").hidden = true;
    $("phone").hidden = false;
    microphone();
  });
  on("registrationFailed", ({ response, cause }) => {
    const wrong = response && [401, 403, 404, 407].includes(response.status_code);
    signOut("failed", wrong ? "Not registered: extension, domain or password is wrong"
      : "Not registered: " + (response ? response.status_code + " " + response.reason_phrase : cause));
  });
  on("newRTCSession", ({ session: arrived, originator }) => {
    if (originator !== "remote") return;
    if (session) arrived.terminate({ status_code: 486 });
    else follow(arrived);
  });
  mine.start();
}

function certificateHint(server) {
  trouble("If the certificate is of Ringline's own making, open " + server.replace(/^wss:/, "https:") +
    " once in this browser and accept it; then register again.");
}

function microphone() {
  if (!navigator.mediaDevices) {
    trouble("Browsers give the microphone to pages from https or from this machine (localhost) only: no calls from here.");
  }
}

function signOut(state, text) {
  if (session) session.terminate();
  const old = agent;
  agent = null;
  if (old) old.stop();
  show("line", state, text);
  $("account").hidden = false;
  $("phone").hidden = true;
  $("register").disabled = false;
}

// ---- calls

// What somebody types, as a SIP address: a whole one stays as it is, everything else is in the own domain.
function address(typed) {
  if (/^sips?:/i.test(typed)) return typed;
  if (typed.includes("@")) return "sip:" + typed;
  const number = /^[+0-9().\s\/-]+$/.test(typed) ? typed.replace(/[^+0-9]/g, "") : typed;
  return new JsSIP.URI("sip", number, $("domain").value.trim()).toString();
}

function dial(event) {
  event.preventDefault();
  const typed = $("number").value.trim();
  if (!typed || session || !agent) return;
  trouble("");
  try {
    follow(agent.call(address(typed), { mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } }), typed);
  } catch {
    show("call", "ended", typed + " cannot be called");
  }
}

function follow(call, typed) {
  session = call;
  const other = typed || call.remote_identity.display_name || call.remote_identity.uri.user;
  const mine = (handler) => (...parts) => { if (session === call) handler(...parts); };
  if (typed) show("call", "calling", "Calling " + typed);
  else {
    show("call", "incoming", other + " is calling");
    ring();
  }
  call.on("progress", mine(({ originator, response }) => {
    if (originator === "remote" && response.status_code !== 100) show("call", "ringing", other + " is ringing");
  }));
  call.on("accepted", mine(() => {
    silence();
    const began = Date.now();
    clock = setInterval(() => {
      const seconds = Math.floor((Date.now() - began) / 1000);
      $("clock").textContent = Math.floor(seconds / 60) + ":" + String(seconds % 60).padStart(2, "0");
    }, 250);
    talking(other);
  }));
  for (const name of ["hold", "unhold", "muted", "unmuted"]) call.on(name, mine(() => talking(other)));
  call.on("getusermediafailed", mine(() => trouble("The microphone was not allowed, or there is none.")));
  call.on("ended", mine(({ originator, cause }) => over(
    originator === "local" ? "Ended" : cause === "Terminated" ? other + " hung up" : "Ended: " + (CAUSES[cause] || cause))));
  call.on("failed", mine(({ originator, cause, message }) => {
    const said = message && message.status_code ? message.status_code + " " + message.reason_phrase : cause;
    if (originator === "local" && cause === "Canceled") over("Ended");
    else over((typed ? "Not reached: " : "Missed: ") + (CAUSES[cause] || said));
  }));
  let gathering = null;
  call.on("icecandidate", ({ ready }) => { gathering ??= setTimeout(ready, GATHERING_MS); });
  const listen = (connection) => connection.addEventListener("track", ({ streams, track }) => {
    $("remote").srcObject = streams[0] || new MediaStream([track]);
  });
  if (call.connection) listen(call.connection);
  else call.on("peerconnection", ({ peerconnection }) => listen(peerconnection));
  buttons();
}

function talking(other) {
  if (!session.isEstablished() && $("call").dataset.state !== "calling" && $("call").dataset.state !== "ringing" &&
      $("call").dataset.state !== "incoming") return;
  const held = session.isOnHold(), muted = session.isMuted().audio;
  if (held.local) show("call", "held", other + " is on hold");
  else if (held.remote) show("call", "held-by-other", other + " has put you on hold");
  else show("call", "talking", "In a call with " + other);
  $("mute").setAttribute("aria-pressed", String(Boolean(muted)));
  $("hold").setAttribute("aria-pressed", String(held.local));
  buttons();
}

function over(text) {
  session = null;
  silence();
  clearInterval(clock);
  $("remote").srcObject = null;
  $("clock").textContent = "";
  show("call", "ended", text);
  for (const name of ["mute", "hold"]) $(name).setAttribute("aria-pressed", "false");
  $("hold").disabled = false;
  buttons();
}

function buttons() {
  const state = $("call").dataset.state;
  const connected = ["talking", "held", "held-by-other"].includes(state);
  $("dial").hidden = Boolean(session);
  $("answer").hidden = state !== "incoming" || !session;
  $("hangup").hidden = !session;
  $("hangup").textContent = state === "incoming" ? "Decline" : "Hang up";
  $("mute").hidden = $("hold").hidden = !connected;
}

function answer() {
  if (!session) return;
  $("answer").hidden = true;
  session.answer({ mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } });
}

function hangUp() {
  if (!session) return;
  const declined = $("call").dataset.state === "incoming";
  try {
    session.terminate(declined ? { status_code: 603 } : undefined);
  } catch { /* it has ended this moment */ }
}

// Each is asked of the other side: the next one has to wait for the answer.
function hold() {
  if (!session) return;
  const call = session;
  const done = () => { if (session === call) $("hold").disabled = false; };
  $("hold").disabled = call.isOnHold().local ? call.unhold({}, done) : call.hold({}, done);
}

function press(key) {
  if (session && session.isEstablished()) session.sendDTMF(key, { transportType: "RFC2833", duration: 120, interToneGap: 80 });
  else if (!session) $("number").value += key;
}

// A soft double tone every three seconds.
function ring() {
  let context;
  try { context = new AudioContext(); } catch { return; }
  const beat = () => {
    const gain = new GainNode(context, { gain: 0.08 });
    gain.connect(context.destination);
    for (const frequency of [440, 480]) {
      const tone = new OscillatorNode(context, { frequency });
      tone.connect(gain);
      tone.start();
      tone.stop(context.currentTime + 1);
    }
  };
  beat();
  const timer = setInterval(beat, 3000);
  pitch = () => { clearInterval(timer); context.close(); };
}

function silence() {
  if (pitch) pitch();
  pitch = null;
}

// ---- the page

async function begin() {
  for (const key of KEYS) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = key;
    button.addEventListener("click", () => press(key));
    $("keys").append(button);
  }
  $("account").addEventListener("submit", register);
  $("dialler").addEventListener("submit", dial);
  $("answer").addEventListener("click", answer);
  $("hangup").addEventListener("click", hangUp);
  $("mute").addEventListener("click", () => session && (session.isMuted().audio ? session.unmute({ audio: true }) : session.mute({ audio: true })));
  $("hold").addEventListener("click", hold);
  $("unregister").addEventListener("click", () => signOut("off", "Not registered"));
  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && KEYS.includes(event.key)) press(event.key);
  });
  // A page that is left may be kept, with its connection: then it would ring where nobody sees it.
  window.addEventListener("pagehide", () => {
    if (!agent) return;
    signOut("off", "Not registered");
    socket.disconnect();
  });
  if (typeof JsSIP === "undefined") {
    $("register").disabled = true;
    trouble("JsSIP is missing: it comes with the image that 'make up' builds, and this controller runs outside of it.");
    return;
  }
  try {
    const { servers, domain, user } = await (await fetch("/phone/settings.json")).json();
    // A page from https may open wss only; elsewhere ws needs no certificate.
    const schemes = location.protocol === "https:" ? ["wss"] : ["ws", "wss"];
    for (const scheme of schemes) {
      if (servers[scheme]) $("server").append(new Option(servers[scheme], servers[scheme]));
    }
    $("user").value = remembered.get("user") || user;
    $("domain").value = remembered.get("domain") || domain;
    const server = remembered.get("server");
    if ([...$("server").options].some((option) => option.value === server)) $("server").value = server;
  } catch {
    trouble("The controller does not answer: load this page again in a moment.");
  }
  document.body.dataset.ready = "yes";
}

begin();
