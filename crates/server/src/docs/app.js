// Renders /openapi.json. Text enters the page as text nodes only.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== undefined));
  return node;
}

/** A schema as an indented sketch; named schemas are expanded once per branch. */
function sketch(api, schema, indent = "", seen = []) {
  if (!schema || Object.keys(schema).length === 0) return "any";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (seen.includes(name)) return name;
    return sketch(api, api.components?.schemas?.[name], indent, [...seen, name]);
  }
  const options = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (options) return options.map((option) => sketch(api, option, indent, seen)).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `[${sketch(api, schema.items, indent, seen)}]`;
  if (schema.properties) {
    const inner = `${indent}  `;
    const required = schema.required ?? [];
    const lines = Object.entries(schema.properties).map(([key, value]) => {
      const note = value.description ? `  // ${value.description.replace(/\s+/g, " ")}` : "";
      return `${inner}${key}${required.includes(key) ? "" : "?"}: ${sketch(api, value, inner, seen)}${note}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  }
  return [schema.type ?? "any"].flat().join(" | ");
}

function parameterTable(operation) {
  if (!operation.parameters?.length) return undefined;
  const rows = operation.parameters.map((parameter) =>
    element("tr", {},
      element("td", {}, element("code", {}, parameter.name)),
      element("td", {}, parameter.in),
      element("td", {}, parameter.required ? "required" : "optional"),
      element("td", {}, parameter.description ?? "")));
  return element("table", {}, ...rows);
}

function requestSketch(api, operation) {
  const content = Object.entries(operation.requestBody?.content ?? {});
  if (content.length === 0) return undefined;
  const [type, { schema }] = content[0];
  return element("div", {}, element("p", {}, `Request: ${type}`), element("pre", {}, sketch(api, schema)));
}

function responseList(api, operation) {
  const parts = Object.entries(operation.responses ?? {}).map(([status, response]) => {
    const content = Object.entries(response.content ?? {})[0];
    const schema = content?.[1].schema;
    const line = [status, content?.[0], response.description].filter(Boolean).join(" · ");
    return element("div", {}, element("p", {}, line), schema && element("pre", {}, sketch(api, schema)));
  });
  return element("div", {}, ...parts);
}

/** A form that sends the request with the page's own cookie. */
function tryIt(path, method, operation) {
  const form = element("form", {});
  const fields = (operation.parameters ?? []).map((parameter) => {
    const input = element("input", { name: parameter.name });
    form.append(element("label", {}, `${parameter.name} `, input));
    return { parameter, input };
  });
  const json = operation.requestBody?.content?.["application/json"];
  const body = json && element("textarea", { "aria-label": "Request body" });
  if (body) {
    body.value = "{}";
    form.append(body);
  }
  const result = element("pre", { hidden: "" });
  form.append(element("button", { type: "submit" }, "Send"), result);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of fields) {
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURI(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    if (query.size > 0) url += `?${query}`;
    result.hidden = false;
    result.textContent = "…";
    try {
      const headers = body ? { "content-type": "application/json" } : {};
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: body?.value });
      const type = response.headers.get("content-type") ?? "";
      const text = /json|text/.test(type) ? (await response.text()).slice(0, 20000) : type;
      result.textContent = `${response.status} ${response.statusText}\n${text}`;
    } catch (error) {
      result.textContent = String(error);
    }
  });
  return form;
}

function section(api, path, method, operation) {
  const title = operation.summary ?? operation.description ?? "";
  const summary = element("summary", {},
    element("b", { class: "method" }, method.toUpperCase()),
    element("code", {}, path),
    element("span", {}, title));
  const details = element("details", { "data-search": `${method} ${path} ${title}`.toLowerCase() }, summary);
  // Most sections are never opened.
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    const streaming = Object.values(operation.responses ?? {}).some((it) => it.content?.["text/event-stream"]);
    details.append(element("div", { class: "body" },
      operation.summary && operation.description ? element("p", {}, operation.description) : undefined,
      parameterTable(operation),
      requestSketch(api, operation),
      responseList(api, operation),
      streaming ? undefined : tryIt(path, method, operation)));
  });
  return details;
}

function render(api) {
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(section(api, path, method, item[method]));
    }
  }
  const sorted = [...groups].sort(([a], [b]) => a.localeCompare(b));
  document.getElementById("routes").replaceChildren(
    ...sorted.map(([tag, sections]) => element("section", {}, element("h2", {}, tag), ...sections)));
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const details of document.querySelectorAll("details")) {
    details.hidden = !details.dataset.search.includes(wanted);
  }
});

async function start() {
  const response = await fetch("/openapi.json");
  if (response.ok) return render(await response.json());
  const { detail } = await response.json().catch(() => ({ detail: response.statusText }));
  document.getElementById("routes").replaceChildren(element("p", {}, `The description cannot be read: ${detail}`));
}

start();
