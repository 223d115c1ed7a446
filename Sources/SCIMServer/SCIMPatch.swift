import WireText

/// Operations of a PATCH (RFC 7644, section 3.5.2), with what Entra ID and Okta make of it.
///
/// 1. `op` in any case (Entra ID: `Add`, `Replace`, `Remove`). `add` and `replace` of a single value are one.
/// 2. Without a path the value is an object of attributes, whose names may be paths themselves
///    (`{"name.givenName": "B", "emails[type eq \"work\"].value": "b@example.com"}`).
/// 3. Truth values as texts (`"False"`). An address that `emails[type eq "work"]` does not find is made by add and replace.
/// 4. Members are removed by `members[value eq "ID"]`, or by `members` with a value that lists them (Entra ID); without a
///    value all of them.
/// 5. An attribute that is not kept is passed over. All operations count, or none.
enum SCIMPatch {
    struct Operation {
        enum Kind: String {
            case add, replace, remove
        }

        let kind: Kind
        let path: String?
        let value: JSONNode?
    }

    private static let most = 1000

    static func operations(_ root: JSONNode) throws(SCIMError) -> [Operation] {
        let members = root.members ?? []
        guard let list = members.first(where: { $0.name.lowercased() == "operations" })?.value.elements,
            (1...most).contains(list.count)
        else { throw .invalid(.invalidSyntax, "Operations, a list of 1 to \(most), is missing") }
        var operations: [Operation] = []
        for node in list {
            guard let kind = node["op"]?.string.flatMap({ Operation.Kind(rawValue: $0.lowercased()) }) else {
                throw .invalid(.invalidSyntax, "op has to be add, replace or remove")
            }
            if let path = node["path"], !path.isNull, path.string == nil {
                throw .invalid(.invalidPath, "path has to be a text")
            }
            let path = node["path"]?.string.flatMap { $0.isEmpty ? nil : $0 }
            guard kind != .remove || path != nil else { throw .invalid(.noTarget, "remove needs a path") }
            guard kind == .remove || node["value"] != nil else {
                throw .invalid(.invalidValue, "add and replace need a value")
            }
            operations.append(Operation(kind: kind, path: path, value: node["value"]))
        }
        return operations
    }

    // MARK: Users

    static func apply(_ operations: [Operation], to user: SCIMUser) throws(SCIMError) -> SCIMUser {
        var user = user
        for operation in operations {
            if let path = operation.path {
                try change(&user, path, operation)
            } else {
                guard let members = operation.value?.members else {
                    throw .invalid(.invalidValue, "without a path the value is an object")
                }
                for (name, value) in members {
                    try change(&user, name, Operation(kind: operation.kind, path: name, value: value))
                }
            }
        }
        try user.check()
        return user
    }

    private static func change(_ user: inout SCIMUser, _ text: String, _ operation: Operation) throws(SCIMError) {
        let path = try Path(text)
        guard path.attribute == "emails", path.selector != nil || path.sub != nil || operation.kind == .add else {
            guard path.selector == nil else { return }
            if operation.kind == .remove { return try user.remove(path.whole) }
            guard let value = operation.value else { return }
            return try user.set(path.whole, value)
        }
        try changeEmails(&user, path, operation)
    }

    private static func changeEmails(
        _ user: inout SCIMUser, _ path: Path, _ operation: Operation
    ) throws(SCIMError) {
        func isMeant(_ address: SCIMUser.Address) -> Bool {
            (path.selector ?? []).allSatisfy { comparison in
                switch (comparison.path, comparison.value) {
                case ("type", .text(let text)): address.type?.lowercased() == text.lowercased()
                case ("value", .text(let text)): address.value.lowercased() == text.lowercased()
                case ("primary", .flag(let flag)): address.isPrimary == flag
                default: false
                }
            }
        }
        if operation.kind == .remove {
            guard path.sub == nil || path.sub == "value" else { return }
            return user.emails.removeAll(where: isMeant)
        }
        guard let value = operation.value else { return }
        if path.selector == nil, path.sub == nil {
            // add: beside what is there; of one type there is one.
            for address in try SCIMUser.addresses(value) {
                user.emails.removeAll { $0.value.lowercased() == address.value.lowercased() }
                if address.isPrimary { for index in user.emails.indices { user.emails[index].isPrimary = false } }
                user.emails.append(address)
            }
            return
        }
        var found = user.emails.indices.filter { isMeant(user.emails[$0]) }
        if found.isEmpty {
            var address = SCIMUser.Address(value: "")
            for comparison in path.selector ?? [] {
                if case ("type", .text(let text)) = (comparison.path, comparison.value) { address.type = text }
                if case ("primary", .flag(let flag)) = (comparison.path, comparison.value) { address.isPrimary = flag }
            }
            user.emails.append(address)
            found = [user.emails.count - 1]
        }
        for index in found {
            switch path.sub {
            case "value": user.emails[index].value = try SCIMUser.text(value, "emails.value") ?? ""
            case "type": user.emails[index].type = try SCIMUser.text(value, "emails.type")
            case "primary": user.emails[index].isPrimary = try SCIMUser.flag(value)
            case nil:
                if let node = value.members == nil ? value : value["value"] {
                    user.emails[index].value = try SCIMUser.text(node, "emails.value") ?? ""
                }
            default: break
            }
        }
        user.emails.removeAll { $0.value.isEmpty }
    }

    // MARK: Groups

    static func apply(_ operations: [Operation], to group: SCIMGroup) throws(SCIMError) -> SCIMGroup {
        var group = group
        for operation in operations {
            if let path = operation.path {
                try change(&group, path, operation)
            } else {
                guard let members = operation.value?.members else {
                    throw .invalid(.invalidValue, "without a path the value is an object")
                }
                for (name, value) in members where !["id", "schemas", "meta"].contains(name.lowercased()) {
                    try change(&group, name, Operation(kind: operation.kind, path: name, value: value))
                }
            }
        }
        try group.check()
        return group
    }

    private static func change(_ group: inout SCIMGroup, _ text: String, _ operation: Operation) throws(SCIMError) {
        let path = try Path(text)
        guard path.attribute == "members" else {
            switch (operation.kind, path.whole) {
            case (.remove, "displayname"): throw .invalid(.mutability, "displayName can not be removed")
            case (.remove, "externalid"): group.externalID = nil
            case (.remove, _): break
            default: if let value = operation.value { try group.set(path.whole, value) }
            }
            return
        }
        if let selector = path.selector {
            guard operation.kind == .remove, selector.count == 1, selector[0].path == "value",
                case .text(let id) = selector[0].value
            else { throw .invalid(.invalidPath, "of members one is removed by members[value eq \"ID\"]") }
            group.members.remove(id.lowercased())
            return
        }
        let ids = try operation.value.map { value throws(SCIMError) in try SCIMGroup.ids(value) } ?? []
        switch operation.kind {
        case .add: group.members.formUnion(ids)
        case .replace: group.members = ids
        case .remove: group.members = ids.isEmpty ? [] : group.members.subtracting(ids)
        }
    }

    /// `attribute`, `attribute.sub`, `attribute[filter]` or `attribute[filter].sub`; in lower case.
    struct Path {
        let attribute: String
        let selector: [SCIMFilter.Comparison]?
        let sub: String?
        var whole: String { sub.map { attribute + "." + $0 } ?? attribute }

        init(_ text: String) throws(SCIMError) {
            guard text.utf8.count <= SCIMFilter.longest else { throw .invalid(.invalidPath, "the path is too long") }
            guard let bracket = text.firstIndex(of: "[") else {
                let plain = SCIMPath.plain(text)
                guard SCIMPath.isAttribute(plain) else {
                    throw .invalid(.invalidPath, "the path is malformed")
                }
                let parts = plain.split(separator: ".", maxSplits: 1).map(String.init)
                // Of other schemas' URNs the version has a dot: nothing of them is kept.
                (attribute, selector) = (plain.hasPrefix("urn:") ? plain : parts[0], nil)
                sub = plain.hasPrefix("urn:") || parts.count == 1 ? nil : parts[1]
                return
            }
            attribute = SCIMPath.plain(String(text[..<bracket]))
            guard SCIMPath.isAttribute(attribute), let end = text.lastIndex(of: "]"), end > bracket else {
                throw .invalid(.invalidPath, "the path is malformed")
            }
            do {
                selector = try SCIMFilter(String(text[text.index(after: bracket)..<end])).comparisons
            } catch {
                throw .invalid(.invalidPath, "the filter of the path can not be used")
            }
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(".") && SCIMPath.isAttribute(String(rest.dropFirst())) else {
                throw .invalid(.invalidPath, "the path is malformed")
            }
            sub = rest.isEmpty ? nil : rest.dropFirst().lowercased()
        }
    }
}
