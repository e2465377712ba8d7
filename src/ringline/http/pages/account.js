"use strict";
// Opening a link does nothing by itself: programs that look at mail open links too.
const forms = { verify: document.getElementById("verify"), forgot: document.getElementById("forgot"), reset: document.getElementById("reset") };
const said = document.getElementById("said");
let token = new URLSearchParams(location.search).get("token") || "";
// the token does not stay in the history of the browser
history.replaceState(null, "", location.pathname);

function show(name, text) {
  for (const [key, form] of Object.entries(forms)) form.hidden = key !== name;
  said.textContent = text || "";
}

async function post(form, path, body) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "omit" });
    const answer = await response.json();
    if (response.ok) return answer;
    said.textContent = answer.error ? answer.error.message : "That did not work.";
  } catch {
    said.textContent = "The server does not answer; try again in a moment.";
  } finally {
    button.disabled = false;
  }
  return null;
}

forms.verify.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await post(forms.verify, "/auth/email-verify", { token });
  if (!answer) return;
  token = answer.password_token;
  show("reset", `Thank you. Choose a password for the login ${answer.username}.`);
});

forms.forgot.addEventListener("submit", async (event) => {
  event.preventDefault();
  const username = forms.forgot.elements.username.value;
  if (await post(forms.forgot, "/auth/password-forgot", { username })) show("", "If there is such a login, a mail is on its way. Its link is good for an hour.");
});

forms.reset.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = forms.reset.elements;
  if (fields.password.value !== fields.again.value) {
    said.textContent = "The two passwords differ.";
    return;
  }
  if (await post(forms.reset, "/auth/password-reset", { token, password: fields.password.value })) show("", "The password is set. You can log in with it now.");
});

const page = location.pathname.split("/").pop();
const usable = /^[0-9a-f]{64}$/.test(token);
if (page === "password-forgot") show("forgot");
else if (!usable) show("", "This link is not complete: open it as it stands in the mail.");
else show(page === "email-verify" ? "verify" : "reset");
