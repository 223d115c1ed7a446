package import WireText

/// A stop of key release that an officer ordered, for as long as it stands.
///
/// What it stops: every answer that carries key bytes (retrieve, create and bind of keys). What it does not: lists, and
/// removing somebody. Reversible: lifting it gives nothing back that was refused meanwhile, clients ask again.
package struct Freeze: Sendable, Equatable {
    /// What it covers. A time range covers keys that were bound within it, the start inclusive, the end exclusive.
    package enum Scope: Sendable, Equatable {
        case everything
        case space(String)
        case user(String)
        case device(String)
        case bound(from: Timestamp?, until: Timestamp?)
        case service(String)
        case partner(String)
    }

    package let id: String
    package let scope: Scope
    package let reason: String
    /// The officer who ordered it.
    package let orderedBy: String
    package let since: Timestamp

    package init(id: String = UUIDText.random(), scope: Scope, reason: String, orderedBy: String, since: Timestamp) {
        self.id = id
        self.scope = scope
        self.reason = reason
        self.orderedBy = orderedBy
        self.since = since
    }

    /// Whether the release of a key is covered.
    func covers(_ release: Release) -> Bool {
        switch scope {
        case .everything: true
        case .space(let id): release.spaces.contains(id)
        case .user(let user): release.users.contains(user.canonicalAuthID)
        case .device(let device): release.device == device
        case .bound(let from, let until):
            release.bound.contains { bound in
                (from.map { bound >= $0 } ?? true) && (until.map { bound < $0 } ?? true)
            }
        case .service(let name): release.services.contains(name)
        case .partner(let host): release.partner == host
        }
    }

    /// What is about to be released to whom.
    struct Release {
        /// Whose token it is, whose rights count, and for which officer a service asks.
        let users: Set<String>
        let device: String
        /// Names by which a service is known: of its consents, its account, its client.
        var services: Set<String> = []
        var partner: String?
        /// The resource that a key belongs to, and those on the path that grants it.
        var spaces: [String] = []
        /// Bind dates of the keys.
        var bound: [Timestamp] = []
    }
}

// How freezes are sealed, all in one setting of the store.
extension Freeze {
    func write(to fields: inout FieldWriter) {
        fields.field(id)
        let texts: (kind: Int64, text: String, from: Timestamp?, until: Timestamp?) =
            switch scope {
            case .everything: (0, "", nil, nil)
            case .space(let id): (1, id, nil, nil)
            case .user(let id): (2, id, nil, nil)
            case .device(let id): (3, id, nil, nil)
            case .bound(let from, let until): (4, "", from, until)
            case .service(let name): (5, name, nil, nil)
            case .partner(let host): (6, host, nil, nil)
            }
        fields.field(texts.kind)
        fields.field(texts.text)
        fields.field(optional: texts.from)
        fields.field(optional: texts.until)
        fields.field(reason)
        fields.field(orderedBy)
        fields.field(since)
    }

    init?(_ fields: inout FieldReader) {
        guard let id = fields.text(), let kind = fields.number(), let text = fields.text(),
            let from = fields.optionalTime(), let until = fields.optionalTime(), let reason = fields.text(),
            let orderedBy = fields.text(), let since = fields.time()
        else { return nil }
        let scope: Scope
        switch kind {
        case 0: scope = .everything
        case 1: scope = .space(text)
        case 2: scope = .user(text)
        case 3: scope = .device(text)
        case 4: scope = .bound(from: from, until: until)
        case 5: scope = .service(text)
        case 6: scope = .partner(text)
        default: return nil
        }
        self.init(id: id, scope: scope, reason: reason, orderedBy: orderedBy, since: since)
    }
}
