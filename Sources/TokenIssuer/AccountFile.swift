package import Diagnostics
import JOSESignature
import WireText

/// The accounts file: YAML in an administrator's hands, described key by key in `config/accounts.example.yaml`.
///
/// Parsing is all or nothing. Refused by path and line: unknown and duplicate keys, a missing or malformed value, ids and
/// addresses that are there twice, a hash that is no `scrypt$…` text (a clear password in its place, above all).
package enum AccountFile {
    package static func parse(_ text: String, file: String) throws(DiagnosedError) -> Accounts {
        guard text.utf8.count <= StructuredText.maximumBytes else {
            throw DiagnosedError(
                .accountsFile, fault: .configuration, "\(file): the file is too long",
                expected: "at most \(StructuredText.maximumBytes) bytes", found: "\(text.utf8.count)")
        }
        let top = try StructuredText(text, file: file).members(
            ["organisation", "partner-kms", "users", "services", "clients"])
        let organisation = try top["organisation"].map { item throws(DiagnosedError) in
            try shortText(item, maximum: 128)
        }

        let partners = try top["partner-kms"].map { list throws(DiagnosedError) in try partnerKMSs(list) } ?? []
        var names = Unique()
        var users: [UserAccount] = []
        for item in try top["users"]?.items() ?? [] {
            users.append(try user(item, organisation: organisation, partners: partners, names: &names))
        }
        var services: [ServiceAccount] = []
        for item in try top["services"]?.items() ?? [] {
            services.append(try service(item, organisation: organisation, names: &names))
        }
        var clients: [ClientRegistration] = []
        for item in try top["clients"]?.items() ?? [] { clients.append(try client(item, names: &names)) }
        return Accounts(users: users, services: services, clients: clients)
    }

    private static func user(
        _ item: StructuredText, organisation: String?, partners: Set<String>, names: inout Unique
    ) throws(DiagnosedError) -> UserAccount {
        let keys = try Keys(item, ["id", "email", "name", "organisation", "password-hash", "disabled", "partner-kms"])
        let id = try keys.required("id")
        let text = try id.text().lowercased()
        guard UUIDText.isValid(text) else {
            throw id.refusal("a UUID is expected here", hint: "make one with: uuidgen, or use: hds-auth add-account")
        }
        let email = try keys.required("email")
        let address = try shortText(email, maximum: 254)
        guard isAddress(address) else { throw email.refusal("an e-mail address is expected here") }
        try names.take(text, kind: "user, service or client id", at: id)
        try names.take("mailto:" + Accounts.normalized(address), kind: "e-mail address", at: email)
        return UserAccount(
            id: text, email: address, name: try shortText(keys.required("name"), maximum: 128),
            organisation: try keys.organisation(default: organisation),
            passwordHash: try keys.optional("password-hash").map { _ throws(DiagnosedError) in
                try hash(keys, "password-hash")
            },
            isDisabled: try keys.optional("disabled")?.flag() ?? false,
            partners: try keys.optional("partner-kms").map { list throws(DiagnosedError) in
                try partnerKMSs(list)
            } ?? partners)
    }

    private static func partnerKMSs(_ list: StructuredText) throws(DiagnosedError) -> Set<String> {
        var partners: Set<String> = []
        for item in try list.items() {
            let text = try item.text()
            guard PartnerKMS.isValid(text) else {
                throw item.refusal("kms://HOST of another organisation is expected here, in lower case")
            }
            partners.insert(text)
        }
        return partners
    }

    private static func service(
        _ item: StructuredText, organisation: String?, names: inout Unique
    ) throws(DiagnosedError) -> ServiceAccount {
        let keys = try Keys(
            item,
            [
                "id", "name", "organisation", "secret-hash", "audiences", "introspects", "key-thumbprint",
                "token-format", "disabled",
            ])
        let id = try keys.required("id")
        let text = try identifier(id)
        try names.take(text.lowercased(), kind: "user, service or client id", at: id)
        var audiences: [Audience: [String]] = [:]
        for (name, value) in try keys.required("audiences").keys() {
            audiences[try audience(name)] = try scopes(value)
        }
        var introspects: Set<Audience> = []
        for name in try keys.optional("introspects")?.items() ?? [] { introspects.insert(try audience(name)) }
        return ServiceAccount(
            id: text,
            name: try keys.optional("name").map { name throws(DiagnosedError) in
                try shortText(name, maximum: 128)
            } ?? text,
            organisation: try keys.organisation(default: organisation), secretHash: try hash(keys, "secret-hash"),
            audiences: audiences, introspects: introspects, keyThumbprint: try thumbprint(keys),
            tokenFormats: try tokenFormats(keys), isDisabled: try keys.optional("disabled")?.flag() ?? false)
    }

    private static func audience(_ name: StructuredText) throws(DiagnosedError) -> Audience {
        guard let audience = Audience(rawValue: try name.text()) else {
            throw name.refusal(
                "unknown audience; known are \(Audience.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return audience
    }

    private static func thumbprint(_ keys: Keys) throws(DiagnosedError) -> String? {
        guard let item = keys.optional("key-thumbprint") else { return nil }
        let text = try item.text()
        guard JWK.isThumbprint(text) else {
            throw item.refusal(
                "the RFC 7638 thumbprint of a public key is expected here: 43 characters of base64url",
                hint: "make the entry with: hds-auth add-service --key FILE")
        }
        return text
    }

    private static func tokenFormats(_ keys: Keys) throws(DiagnosedError) -> [Audience: TokenFormat] {
        var formats: [Audience: TokenFormat] = [:]
        for (name, value) in try keys.optional("token-format")?.keys() ?? [] {
            guard let format = TokenFormat(rawValue: try value.text()) else {
                throw value.refusal("jwt or opaque is expected here")
            }
            formats[try audience(name)] = format
        }
        return formats
    }

    private static func client(
        _ item: StructuredText, names: inout Unique
    ) throws(DiagnosedError) -> ClientRegistration {
        let keys = try Keys(
            item,
            [
                "id", "name", "redirect-uris", "scopes", "token-format", "partner-kms", "integration", "blocked",
            ])
        let id = try keys.required("id")
        let text = try identifier(id)
        try names.take(text.lowercased(), kind: "user, service or client id", at: id)
        let list = try keys.required("redirect-uris")
        var redirects: [RegisteredRedirect] = []
        for item in try list.items() {
            let uri = try item.text()
            do { redirects.append(try RegisteredRedirect(uri)) } catch {
                throw item.refusal("not usable as a redirect URI: \(error.reason)")
            }
        }
        guard !redirects.isEmpty else { throw list.refusal("at least one redirect URI is needed") }
        let allowed = try keys.optional("scopes").map { list throws(DiagnosedError) in try scopes(list) }
        return ClientRegistration(
            id: text, name: try shortText(keys.required("name"), maximum: 64), redirects: redirects,
            scopes: allowed ?? [Scope.user], tokenFormats: try tokenFormats(keys),
            partners: try keys.optional("partner-kms").map { list throws(DiagnosedError) in try partnerKMSs(list) },
            isIntegration: try keys.optional("integration")?.flag() ?? false,
            isBlocked: try keys.optional("blocked")?.flag() ?? false)
    }

    private static func scopes(_ list: StructuredText) throws(DiagnosedError) -> [String] {
        var names: [String] = []
        for item in try list.items() {
            let name = try item.text()
            guard Scope.isValid(name), !names.contains(name) else {
                throw item.refusal("a scope is printable ASCII without spaces and quotes, and stands here once")
            }
            names.append(name)
        }
        return names
    }

    private static func hash(_ keys: Keys, _ name: String) throws(DiagnosedError) -> String {
        let item = try keys.required(name)
        let text = try item.text()
        guard PasswordCheck.isHash(text) else {
            throw item.refusal(
                "a hash of the form scrypt$… is expected here", hint: "make one with: hds-auth hash-password")
        }
        return text
    }

    private static func shortText(_ item: StructuredText, maximum: Int) throws(DiagnosedError) -> String {
        let text = try item.text()
        guard !text.isEmpty, text.count <= maximum,
            text.unicodeScalars.allSatisfy({ !$0.properties.generalCategory.isControl })
        else { throw item.refusal("a text of 1 to \(maximum) characters on one line is expected here") }
        return text
    }

    /// What can stand in a Basic credential and a log without thought.
    private static func identifier(_ item: StructuredText) throws(DiagnosedError) -> String {
        let text = try item.text()
        let isPlain = text.utf8.allSatisfy { byte in
            (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || "-._".utf8.contains(byte)
        }
        guard isPlain, (1...64).contains(text.utf8.count) else {
            throw item.refusal("an id of letters, digits, - . _ with at most 64 characters is expected here")
        }
        return text
    }

    private static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && !parts[0].isEmpty && parts[1].contains(".") && !text.contains(where: \.isWhitespace)
            || parts.count == 2 && parts[1] == "localhost" && !parts[0].isEmpty
    }

    /// The members of one item.
    private struct Keys {
        let item: StructuredText
        let members: [String: StructuredText]

        init(_ item: StructuredText, _ known: [String]) throws(DiagnosedError) {
            self.item = item
            members = try item.members(known)
        }

        func optional(_ name: String) -> StructuredText? { members[name] }

        func required(_ name: String) throws(DiagnosedError) -> StructuredText {
            guard let member = members[name] else { throw item.refusal("the key \(name) is missing") }
            return member
        }

        func organisation(default value: String?) throws(DiagnosedError) -> String {
            if let own = members["organisation"] { return try shortText(own, maximum: 128) }
            guard let value else {
                throw item.refusal("the key organisation is missing here and at the top of the file")
            }
            return value
        }
    }

    /// Names that may be there only once, with the line of the first.
    private struct Unique {
        private var lines: [String: Int] = [:]

        mutating func take(_ name: String, kind: String, at item: StructuredText) throws(DiagnosedError) {
            if let line = lines[name] { throw item.refusal("this \(kind) is already in line \(line)") }
            lines[name] = item.line
        }
    }
}

extension Unicode.GeneralCategory {
    fileprivate var isControl: Bool {
        switch self {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned: true
        default: false
        }
    }
}
