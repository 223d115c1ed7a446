/// The script of the console: plain JavaScript without a library. It keeps nothing but what is on the screen.
enum ConsoleScript {
    static let text = #"""
        'use strict';
        const view = document.getElementById('view');
        const message = document.getElementById('message');
        let current = 'reports', timer = 0, turn = 0;

        // Text only: no value of a message ever becomes markup.
        function make(name, attributes, ...children) {
          const node = document.createElement(name);
          for (const [key, value] of Object.entries(attributes || {})) {
            if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
            else if (value === true) node.setAttribute(key, '');
            else if (value !== false && value != null) node.setAttribute(key, value);
          }
          for (const child of children.flat(Infinity)) if (child != null) node.append(child);
          return node;
        }
        function say(text, bad) {
          message.textContent = text || '';
          message.className = bad ? 'bad' : '';
        }
        async function call(method, path, body) {
          const answer = await fetch('/api/v1' + path, {
            method, credentials: 'same-origin', cache: 'no-store',
            headers: body === undefined ? {'x-hds-console': '1'}
              : {'x-hds-console': '1', 'content-type': 'application/json'},
            body: body === undefined ? undefined : JSON.stringify(body)});
          const value = await answer.json();
          if (!answer.ok) {
            if (answer.status === 401) signedOut();
            throw new Error(value.message || 'refused');
          }
          return value;
        }
        async function attempt(work) {
          try { say(''); return await work(); } catch (error) { say(error.message, true); return undefined; }
        }
        function signedOut() {
          clearTimeout(timer);
          document.getElementById('who').textContent = 'Not signed in';
          document.getElementById('leave').hidden = true;
          view.replaceChildren(make('p', {}, 'Sign in from your own client: hds ediscovery console'));
        }
        function show(name, ...rest) {
          clearTimeout(timer);
          turn += 1;
          current = name;
          history.replaceState(null, '', '#/' + [name, ...rest].join('/'));
          for (const button of document.querySelectorAll('nav button')) {
            if (button.dataset.view === name) button.setAttribute('aria-current', 'page');
            else button.removeAttribute('aria-current');
          }
          const mine = turn;
          attempt(() => views[name](() => mine === turn, ...rest));
        }
        function put(...nodes) { view.replaceChildren(...nodes.flat(Infinity).filter(n => n != null)); }
        function table(heads, rows) {
          if (!rows.length) return make('p', {class: 'quiet'}, 'Nothing here.');
          return make('table', {}, make('thead', {}, make('tr', {}, heads.map(h => make('th', {scope: 'col'}, h)))),
            make('tbody', {}, rows.map(cells => make('tr', {}, cells.map(c => make('td', {}, c))))));
        }
        const time = text => (text || '').replace('T', ' ').replace(/\.\d+Z$/, 'Z');
        const list = text => text.split(/[\n,]/).map(t => t.trim()).filter(Boolean);
        const person = p => p ? (p.name || p.email || p.id) : '';
        const moment = value => value ? new Date(value + ':00Z').toISOString() : undefined;
        function field(label, hint, input) {
          return make('label', {}, label, hint ? make('span', {}, hint) : null, input);
        }
        function people(prefix, role) {
          return [field('People', 'Addresses, one a line; empty: everybody', make('textarea', {name: prefix + 'emails', rows: 2})),
            role ? field('They are', null, make('select', {name: prefix + 'role'},
              ['participant', 'author', 'recipient'].map(r => make('option', {}, r)))) : null];
        }
        function range() {
          return make('div', {class: 'pair'},
            field('From', 'UTC', make('input', {type: 'datetime-local', name: 'start'})),
            field('Before', 'UTC', make('input', {type: 'datetime-local', name: 'end'})));
        }

        const views = {
          async reports(isCurrent) {
            const {reports} = await call('GET', '/reports');
            if (!isCurrent()) return;
            put(make('h2', {}, 'Reports'), table(['Name', 'Made', 'State', 'Items', 'Errors'],
              reports.reverse().map(r => [
                make('button', {onclick: () => show('report', r.id)}, r.name), time(r.created), r.state,
                String(r.summary.items), String(Object.values(r.summary.errors).reduce((a, b) => a + b, 0))])));
            if (reports.some(r => ['accepted', 'collecting'].includes(r.state)))
              timer = setTimeout(() => show('reports'), 2000);
          },

          async report(isCurrent, id) {
            const report = await call('GET', '/reports/' + id);
            if (!isCurrent()) return;
            const over = !['accepted', 'collecting', 'paused'].includes(report.state);
            const p = report.progress, s = report.summary;
            const order = (name, label, danger) => make('button', {class: danger ? 'danger' : '', onclick: () => attempt(async () => {
              await call(name === 'delete' ? 'DELETE' : 'POST', '/reports/' + id + (name === 'delete' ? '' : '/' + name),
                name === 'delete' ? undefined : {});
              show(name === 'delete' ? 'reports' : 'report', id);
            })}, label);
            const facts = [['State', report.state + (report.reason ? ': ' + report.reason : '')], ['Made', time(report.created)],
              ['Spaces', p.containersDone + ' of ' + p.containersTotal], ['Items', String(s.items)],
              ['Items a second', p.itemsPerSec == null ? '' : String(p.itemsPerSec)],
              ['Still to go', p.etaSec == null ? '' : p.etaSec + ' s'],
              ['Errors', Object.entries(s.errors).filter(e => e[1]).map(e => e.join(' ')).join(', ') || 'none'],
              ['Warnings', String(s.warnings)], ['Gaps', String(s.gaps)]].filter(f => f[1] !== '');
            const items = make('section', {'aria-label': 'Items'});
            put(make('h2', {}, report.name || id),
              make('progress', {max: Math.max(1, p.containersTotal), value: over ? Math.max(1, p.containersTotal) : p.containersDone,
                'aria-label': 'Spaces done'}),
              make('dl', {}, facts.map(f => [make('dt', {}, f[0]), make('dd', {}, f[1])])),
              make('div', {class: 'bar'}, report.state === 'collecting' || report.state === 'accepted' ? order('pause', 'Pause') : null,
                report.state === 'paused' ? order('resume', 'Resume') : null, over ? null : order('cancel', 'Cancel'),
                order('delete', 'Delete', true)), items);
            if (over && report.state !== 'failed') await exports(isCurrent, id, items);
            if (!over) { timer = setTimeout(() => show('report', id), 1000); }
            const words = report.terms || [];
            let after = 0;
            const more = make('button', {onclick: () => attempt(load)}, 'More');
            async function load() {
              const page = await call('GET', '/reports/' + id + '/items?limit=100&after=' + after);
              if (!isCurrent()) return;
              more.remove();
              for (const item of page.items) items.append(card(item, words));
              if (page.next) { after = page.next; items.append(more); }
            }
            await load();
          },

          async search(isCurrent) {
            const kinds = ['message', 'file', 'membership', 'spaceInfo'];
            const form = make('form', {onsubmit: e => { e.preventDefault(); send(true); }},
              field('Name', null, make('input', {name: 'name', required: true, maxlength: 200})), people('', true),
              field('Words', 'One a line; parts of words count', make('textarea', {name: 'terms', rows: 2, id: 'words'})),
              field('Of the words', null, make('select', {name: 'op'}, ['any', 'all', 'phrase'].map(o => make('option', {}, o)))),
              field('Spaces', 'Ids, one a line; empty: all', make('textarea', {name: 'spaces', rows: 1})), range(),
              make('fieldset', {}, make('legend', {}, 'What'), kinds.map(k => make('label', {},
                make('input', {type: 'checkbox', name: 'types', value: k, checked: kinds.indexOf(k) < 2}), k))),
              make('div', {class: 'pair'},
                field('Messages before a hit', null, make('input', {type: 'number', name: 'before', min: 0, max: 100, value: 2})),
                field('and after', null, make('input', {type: 'number', name: 'after', min: 0, max: 100, value: 2}))),
              make('label', {class: 'row'}, make('input', {type: 'checkbox', name: 'attachments', checked: true}), 'Open and check files'),
              make('div', {class: 'bar'}, make('button', {class: 'primary', type: 'submit'}, 'Search'),
                make('button', {type: 'button', onclick: () => send(false)}, 'Estimate')));
            const session = await call('GET', '/session');
            function request() {
              const data = new FormData(form);
              const value = {name: data.get('name') || 'estimate', subjects: {emails: list(data.get('emails')), role: data.get('role')},
                keywords: {terms: list(data.get('terms')), op: data.get('op')}, spaces: {ids: list(data.get('spaces'))},
                range: {start: moment(data.get('start')), end: moment(data.get('end'))}, types: data.getAll('types'),
                include: {attachments: data.has('attachments'),
                  context: {before: Number(data.get('before')), after: Number(data.get('after'))}}};
              if (session.matter) value.caseId = session.matter;
              return value;
            }
            async function send(real) {
              if (real) {
                const report = await attempt(() => call('POST', '/reports', request()));
                if (report) show('report', report.id);
              } else {
                const e = await attempt(() => call('POST', '/estimates', request()));
                if (e) say(e.items + ' messages in ' + e.containers + ' spaces, ' + e.files + ' files of ' + e.bytes + ' octets'
                  + (e.beforeKeywords ? ', before any word is looked for' : ''));
              }
            }
            if (!isCurrent()) return;
            put(make('h2', {}, 'New search'), form);
            form.elements.name.focus();
          },

          async holds(isCurrent) {
            const {holds} = await call('GET', '/holds');
            if (!isCurrent()) return;
            const form = make('form', {onsubmit: e => { e.preventDefault(); attempt(async () => {
              const data = new FormData(form);
              await call('POST', '/holds', {name: data.get('name'), custodians: {emails: list(data.get('emails'))},
                spaces: list(data.get('spaces')), start: moment(data.get('start')), end: moment(data.get('end'))});
              show('holds');
            }); }}, field('Name', null, make('input', {name: 'name', required: true})), people('', false),
              field('Spaces', 'Ids, one a line', make('textarea', {name: 'spaces', rows: 1})), range(),
              make('div', {class: 'bar'}, make('button', {class: 'primary'}, 'Hold')));
            put(make('h2', {}, 'Holds'), table(['Name', 'Since', 'Custodians', 'Spaces', ''], holds.map(h => [h.name, time(h.created),
              h.custodians.join(', ') || 'everybody', h.spaces.join(', ') || 'all', h.released ? 'released ' + time(h.released.at)
              : make('button', {onclick: () => reason(r => call('POST', '/holds/' + h.id + '/release', {reason: r}), 'holds')}, 'Release')])),
              make('h2', {}, 'New hold'), form);
          },

          async destruction(isCurrent) {
            const {rules} = await call('GET', '/retention'), {certificates} = await call('GET', '/certificates');
            if (!isCurrent()) return;
            const rule = make('form', {onsubmit: e => { e.preventDefault(); attempt(async () => {
              const data = new FormData(rule);
              await call('PUT', '/retention/' + encodeURIComponent(data.get('scope')), {days: Number(data.get('days'))});
              show('approvals');
            }); }}, field('For', 'organisation, or the id of a space', make('input', {name: 'scope', value: 'organisation', required: true})),
              field('Days', null, make('input', {name: 'days', type: 'number', min: 1, max: 36500, required: true})),
              make('div', {class: 'bar'}, make('button', {class: 'primary'}, 'Propose')));
            const erase = make('form', {onsubmit: e => { e.preventDefault(); attempt(async () => {
              const data = new FormData(erase);
              await call('POST', '/subjects/erasures', {emails: list(data.get('emails')), reason: data.get('reason')});
              show('approvals');
            }); }}, field('Address', 'Of one person: everything that it wrote', make('input', {name: 'emails', required: true})),
              field('Why', null, make('input', {name: 'reason', required: true})),
              make('div', {class: 'bar'}, make('button', {class: 'danger'}, 'Propose the erasure')));
            put(make('h2', {}, 'Retention'), table(['For', 'Days', 'Since'], rules.map(r => [r.scope, String(r.days), time(r.set)])), rule,
              make('h2', {}, 'Erasure of a person'), erase, make('h2', {}, 'Certificates'), table(['Ended', 'Kind', 'Destroyed', 'Held', 'Digest'],
                certificates.map(c => c.certificate).map(c => [time(c.ended), c.kind, String(c.removed), String(c.held), c.digest])));
          },

          async approvals(isCurrent) {
            const {approvals} = await call('GET', '/approvals');
            if (!isCurrent()) return;
            const settle = (a, what) => make('button', {class: what === 'grant' ? 'danger' : '', onclick: () => attempt(async () => {
              await call('POST', '/approvals/' + a.id + '/' + what, {digest: a.digest});
              show('approvals');
            })}, what === 'grant' ? 'Grant' : 'Refuse');
            put(make('h2', {}, 'Steps that need a second officer'), table(['Step', 'By', 'Until', 'What', ''], approvals.map(a => [a.command,
              a.officer, time(a.until), JSON.stringify(a.order), a.state === 'proposed' ? [settle(a, 'grant'), ' ', settle(a, 'refuse')] : a.state])));
          },

          async audit(isCurrent) {
            const {entries} = await call('GET', '/audit');
            if (!isCurrent()) return;
            put(make('h2', {}, 'Audit'), table(['Time', 'Officer', 'Action', 'About', 'Outcome'], entries.reverse().map(e => [time(e.time),
              e.officer, e.action, e.report || '', e.outcome])));
          },
        };

        async function exports(isCurrent, id, before) {
          const list = await call('GET', '/exports').catch(() => null);
          if (!list || !isCurrent()) return;
          const formats = ['jsonl', 'eml', 'mbox', 'csv', 'dat', 'edrm', 'html'];
          const form = make('form', {onsubmit: e => { e.preventDefault(); attempt(async () => {
            const data = new FormData(form);
            await call('POST', '/exports', {reportId: id, encryptTo: data.get('key'), formats: data.getAll('formats')});
            show('report', id);
          }); }}, field('Key', 'Name of your registered key', make('input', {name: 'key', required: true})),
            make('fieldset', {}, make('legend', {}, 'Forms'), formats.map(f => make('label', {},
              make('input', {type: 'checkbox', name: 'formats', value: f, checked: true}), f))),
            make('div', {class: 'bar'}, make('button', {class: 'primary'}, 'Export')));
          const fetchFile = (e, f) => make('button', {onclick: () => attempt(async () => {
            const answer = await call('POST', '/exports/' + e.id + '/files/' + encodeURIComponent(f.name), {});
            location.assign(answer.url);
          })}, f.name + ', ' + f.octets + ' octets');
          const own = list.exports.filter(e => e.reportId === id);
          if (own.some(e => e.state === 'waiting')) timer = setTimeout(() => show('report', id), 2000);
          before.before(make('details', {open: own.length > 0}, make('summary', {}, 'Exports'),
            table(['Ordered', 'State', 'Files'], own.map(e => [time(e.created), e.state + (e.reason ? ': ' + e.reason : ''),
              e.files.map(f => fetchFile(e, f))])), form));
        }
        function reason(send, next) {
          const form = make('form', {onsubmit: e => { e.preventDefault(); attempt(async () => {
            await send(new FormData(form).get('reason'));
            show('approvals');
          }); }}, field('Why', 'A second officer has to grant it', make('input', {name: 'reason', required: true})),
            make('div', {class: 'bar'}, make('button', {class: 'primary'}, 'Propose'),
              make('button', {type: 'button', onclick: () => show(next)}, 'Back')));
          put(form);
          form.elements.reason.focus();
        }

        function marked(text, words) {
          const nodes = [];
          const low = text.toLowerCase();
          let place = 0;
          while (words.length) {
            let first = -1, length = 0;
            for (const word of words) {
              const found = word ? low.indexOf(word.toLowerCase(), place) : -1;
              if (found >= 0 && (first < 0 || found < first)) { first = found; length = word.length; }
            }
            if (first < 0 || low.length !== text.length) break;
            nodes.push(text.slice(place, first), make('mark', {}, text.slice(first, first + length)));
            place = first + length;
          }
          nodes.push(text.slice(place));
          return nodes;
        }
        function card(item, words) {
          const head = [person(item.author), ' ', make('span', {class: 'quiet'}, time(item.published) + ' ' + item.kind
            + (item.context ? ', context' : ''))];
          return make('article', {class: item.context ? 'context' : '', tabindex: '0'}, make('h3', {}, head),
            (item.history || []).map(h => make('p', {class: 'history'}, (h.text == null ? '' : h.text) + ' (until ' + time(h.until) + ')')),
            item.text == null ? null : make('p', {}, marked(item.text, words)),
            item.subject ? make('p', {}, person(item.subject)) : null,
            item.deletion ? make('p', {class: 'gone'}, 'deleted ' + time(item.deletion.at) + ' by ' + person(item.deletion.by)) : null,
            (item.files || []).map(f => make('p', {}, 'File: ' + (f.displayName || 'file') + (f.fileSize == null ? '' : ', ' + f.fileSize + ' octets'))),
            (item.problems || []).map(p => make('p', {class: 'problem'}, p.class + ': ' + p.text)),
            make('p', {class: 'quiet'}, 'space ' + item.containerId + (item.custodians.length ? ', through ' + item.custodians.join(', ') : '')));
        }

        document.addEventListener('keydown', event => {
          if (event.ctrlKey || event.metaKey || event.altKey) return;
          if (event.key === 'Escape') { show(current === 'report' ? 'reports' : current); return; }
          if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
          if (event.key === '/' || event.key === 'n') { event.preventDefault(); show('search'); }
          if (event.key === 'j' || event.key === 'k') {
            const cards = [...document.querySelectorAll('article')];
            const at = cards.indexOf(document.activeElement);
            const next = cards[event.key === 'j' ? at + 1 : Math.max(0, at - 1)];
            if (next) next.focus();
          }
        });
        for (const button of document.querySelectorAll('nav button'))
          button.addEventListener('click', () => show(button.dataset.view));
        document.getElementById('leave').addEventListener('click', () => attempt(async () => {
          await call('POST', '/leave', {});
          signedOut();
        }));

        (async () => {
          // The link that is good once, perhaps with a place behind it; or a place alone.
          const [ticket, ...place] = location.hash.slice(1).split('/');
          history.replaceState(null, '', '/');
          if (ticket) {
            const answer = await fetch('/enter', {method: 'POST', credentials: 'same-origin',
              headers: {'x-hds-console': '1', 'content-type': 'application/json'}, body: JSON.stringify({ticket})});
            if (!answer.ok) { signedOut(); say((await answer.json()).message, true); return; }
          }
          const session = await attempt(() => call('GET', '/session'));
          if (!session) return;
          document.getElementById('who').textContent = session.officer + (session.matter ? ', matter ' + session.matter : '');
          document.getElementById('leave').hidden = false;
          show(...(views[place[0]] ? place : ['reports']));
        })();

        """#
}
