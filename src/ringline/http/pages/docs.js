"use strict";

// Shows /openapi.json (OpenAPI 3.1) and sends requests from the page. Every text goes in as text, never as markup.

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Paragraphs, lists and `code`: as much of Markdown as the descriptions use.
function prose(text) {
  const box = element("div");
  for (const block of (text || "").split(/\n\s*\n/)) {
    if (!block.trim()) continue;
    if (/^\s*- /.test(block)) {
      const items = block.split(/\n(?=\s*- )/).map((item) => element("li", {}, ...inline(item.replace(/^\s*- /, ""))));
      box.append(element("ul", {}, ...items));
    } else {
      const [lead, ...rest] = block.split(/\n(?=\s*- )/);
      box.append(element("p", {}, ...inline(lead)));
      if (rest.length) box.append(prose(rest.join("\n")));
    }
  }
  return box;
}

function inline(text) {
  return text.split(/(`[^`]+`)/).map((part) =>
    part.startsWith("`") && part.endsWith("`") ? element("code", {}, part.slice(1, -1)) : part);
}

function typeName(schema) {
  if (!schema || schema === true) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = schema.anyOf || schema.oneOf;
  if (several) return several.map(typeName).join(" | ");
  if (schema.allOf) return schema.allOf.map(typeName).join(" & ");
  if (schema.type === "array") return typeName(schema.items) + "[]";
  if (schema.type === "object" && typeof schema.additionalProperties === "object") return "{ string: " + typeName(schema.additionalProperties) + " }";
  return schema.type + (schema.format ? " (" + schema.format + ")" : "");
}

function typeNode(schema) {
  const text = typeName(schema);
  return element("span", { class: "type" }, ...text.split(/(\b[A-Z]\w+\b)/).map((word) =>
    api.components.schemas[word] ? element("a", { href: "#model-" + word }, word) : word));
}

function limits(schema) {
  const words = [];
  for (const key of ["default", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"]) {
    if (schema[key] !== undefined) words.push(key + " " + JSON.stringify(schema[key]));
  }
  return words.length ? element("small", {}, " " + words.join(", ")) : null;
}

function fieldTable(schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([name, field]) => element("tr", {},
    element("td", {}, element("code", {}, name), required.has(name) ? " *" : ""),
    element("td", {}, typeNode(field), limits(field)),
    element("td", {}, ...inline(field.description || ""))));
  return element("table", {}, ...rows);
}

function parameterTable(parameters) {
  return element("table", {}, ...parameters.map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name), parameter.required ? " *" : "", element("br"), element("small", {}, parameter.in)),
    element("td", {}, typeNode(parameter.schema), limits(parameter.schema)),
    element("td", {}, ...inline(parameter.description || "")))));
}

// The media types of a body or an answer that is not JSON.
function kinds(content) {
  return Object.keys(content).filter((kind) => !(kind === "application/json" && content[kind].schema));
}

function answerNode(content) {
  const json = content["application/json"];
  const others = kinds(content).map((kind) => element("div", {}, element("code", {}, kind)));
  return element("div", {}, ...(json && json.schema ? [typeNode(json.schema)] : []), ...others);
}

function curl(method, path, body) {
  const lines = ["curl -s -X " + method.toUpperCase() + " '" + location.origin + path + "'", "  -H 'Authorization: Bearer <access key>'"];
  if (body !== null) lines.push("  -H 'Content-Type: application/json'", "  -d '" + body.replaceAll("'", "'\\''") + "'");
  return lines.join(" \\\n");
}

function tryOut(method, path, operation) {
  const inputs = operation.parameters.map((parameter) => {
    const input = element("input", { placeholder: parameter.name, "aria-label": parameter.name });
    return { parameter, input };
  });
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const examples = content && content.examples ? Object.values(content.examples) : [];
  const body = content && content.schema ? element("textarea", { spellcheck: "false", "aria-label": "body" }) : null;
  const file = operation.requestBody && !body ? element("input", { type: "file", "aria-label": "body" }) : null;
  if (body) body.value = JSON.stringify(examples.length ? examples[0].value : {}, null, 2);
  const output = element("pre", { class: "hidden" });
  const send = async () => {
    let target = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") target = target.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value && parameter.in === "header") headers[parameter.name] = input.value;
    }
    const credential = document.getElementById("credential").value.trim();
    if (credential) headers.Authorization = "Bearer " + credential;
    if (body) headers["Content-Type"] = "application/json";
    const sent = file ? file.files[0] : undefined;
    if (sent && sent.type) headers["Content-Type"] = sent.type;
    const text = query.toString();
    output.classList.remove("hidden");
    output.textContent = "...";
    try {
      const answer = await fetch(target + (text ? "?" + text : ""), { method: method.toUpperCase(), headers, body: body ? body.value : sent });
      const raw = await answer.text();
      let shown = raw;
      try { shown = JSON.stringify(JSON.parse(raw), null, 2); } catch { /* not JSON: as it came */ }
      output.textContent = answer.status + " " + answer.statusText + "\n\n" + shown;
    } catch (error) {
      output.textContent = String(error);
    }
  };
  return element("div", {}, element("h4", {}, "Try it"), ...inputs.map(({ input }) => input), body, file,
    element("p", {}, element("button", { type: "button", onclick: send }, "Send")), output,
    element("pre", {}, curl(method, path, body ? body.value : null)));
}

function operationNode(method, path, operation) {
  const summary = element("summary", {}, element("span", { class: "method " + method.toUpperCase() }, method.toUpperCase()),
    element("code", {}, path), " " + operation.summary);
  const inside = element("div");
  const node = element("details", { class: "operation" + (operation.deprecated ? " deprecated" : ""), id: operation.operationId }, summary, inside);
  node.addEventListener("toggle", () => {
    if (inside.childNodes.length) return;
    inside.append(prose(operation.description));
    if (operation.parameters.length) inside.append(element("h4", {}, "Parameters"), parameterTable(operation.parameters));
    const content = operation.requestBody && operation.requestBody.content["application/json"];
    if (operation.requestBody && kinds(operation.requestBody.content).length) {
      inside.append(element("h4", {}, "Body"), answerNode(operation.requestBody.content));
    } else if (content) {
      inside.append(element("h4", {}, "Body"), typeNode(content.schema));
      for (const [name, example] of Object.entries(content.examples || {})) {
        inside.append(element("p", {}, name), element("pre", {}, JSON.stringify(example.value, null, 2)));
      }
    }
    inside.append(element("h4", {}, "Answers"));
    inside.append(element("table", {}, ...Object.entries(operation.responses).map(([status, response]) => element("tr", {},
      element("td", {}, element("code", {}, status)),
      element("td", {}, answerNode(response.content)),
      element("td", {}, ...inline(response.description))))));
    const example = (operation.responses["200"].content["application/json"] || {}).example;
    if (example) inside.append(element("pre", {}, JSON.stringify(example, null, 2)));
    inside.append(tryOut(method, path, operation));
  });
  return node;
}

function openTarget() {
  const node = location.hash && document.getElementById(location.hash.slice(1));
  if (node && node.tagName === "DETAILS") node.open = true;
  if (node) node.scrollIntoView();
}

function filter(event) {
  const wanted = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const node of document.querySelectorAll("details.operation")) {
    const text = node.querySelector("summary").textContent.toLowerCase();
    node.classList.toggle("hidden", !wanted.every((word) => text.includes(word)));
  }
}

let api;

async function show() {
  api = await (await fetch("/openapi.json")).json();
  document.getElementById("version").textContent = api.info.version + ", OpenAPI " + api.openapi;
  document.getElementById("introduction").append(prose(api.info.description));
  const sections = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      if (!methods[method]) continue;
      const tag = (methods[method].tags || [])[0] || "other";
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push([method, path, methods[method]]);
    }
  }
  const index = document.getElementById("index");
  for (const [tag, operations] of [...sections].sort()) {
    index.append(element("strong", {}, tag));
    const box = element("section", {}, element("h2", {}, tag));
    for (const [method, path, operation] of operations) {
      box.append(operationNode(method, path, operation));
      index.append(element("a", { href: "#" + operation.operationId }, element("span", { class: "method " + method.toUpperCase() }, method.toUpperCase()), path));
    }
    document.getElementById("operations").append(box);
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    document.getElementById("models").append(element("details", { class: "operation", id: "model-" + name },
      element("summary", {}, element("code", {}, name)),
      element("div", {}, prose(schema.description), schema.properties ? fieldTable(schema) : typeNode(schema))));
  }
  document.getElementById("filter").addEventListener("input", filter);
  window.addEventListener("hashchange", openTarget);
  openTarget();
}

show();
