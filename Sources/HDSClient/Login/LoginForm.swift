import Diagnostics

/// The login form of an authorization server's page: where it goes and what it carries along.
///
/// Reads HTML the way the standard's tokenizer cuts it (WHATWG HTML, section 13.2.5), as far as forms need it: comments
/// and the contents of `script`, `style`, `textarea`, `title` and the like are no tags, attributes may be unquoted, the
/// first of two equal attributes counts, character references are resolved. The page is a peer's: sizes and counts are
/// bounded, and what is not exactly one form with one password field is refused.
struct LoginForm: Sendable {
    /// As written; empty means the page itself.
    let action: String
    /// The hidden fields, in order.
    let hidden: [(name: String, value: String)]
    let emailField: String
    let passwordField: String

    static let maximumPageBytes = 256 << 10
    static let maximumFields = 64
    static let maximumValueBytes = 8 << 10

    init(page: [UInt8]) throws(DiagnosedError) {
        guard page.count <= Self.maximumPageBytes else { throw Self.refused("it is too long") }
        guard let text = String(validating: page, as: UTF8.self) else { throw Self.refused("it is not UTF-8") }
        var tokenizer = HTMLTags(text)
        var found: [Draft] = []
        var current: Draft?
        while let tag = tokenizer.next() {
            switch (tag.name, tag.isEnd) {
            case ("form", false):
                // A form inside a form is ignored by browsers.
                if current == nil { current = Draft(tag) }
            case ("form", true):
                if let draft = current { found.append(draft) }
                current = nil
            case ("input", false): try current?.add(tag)
            default: break
            }
        }
        if let current { found.append(current) }
        let logins = found.filter { $0.passwords.count == 1 && $0.method == "post" }
        guard logins.count == 1, let login = logins.first, let password = login.passwords.first else {
            throw Self.refused(
                "it does not have exactly one form with a password field", found: "\(logins.count)",
                hint: "log in with --browser instead")
        }
        guard login.texts.count == 1, let email = login.texts.first else {
            throw Self.refused(
                "its form does not have exactly one field for the e-mail address", found: "\(login.texts.count)",
                hint: "log in with --browser instead")
        }
        action = login.action
        hidden = login.hidden
        emailField = email
        passwordField = password
    }

    private struct Draft {
        var action: String
        var method: String
        var hidden: [(name: String, value: String)] = []
        var texts: [String] = []
        var passwords: [String] = []
        var count = 0

        init(_ tag: HTMLTags.Tag) {
            action = tag.attributes["action"] ?? ""
            method = tag.attributes["method"]?.lowercased() ?? "get"
        }

        mutating func add(_ tag: HTMLTags.Tag) throws(DiagnosedError) {
            count += 1
            guard count <= LoginForm.maximumFields else { throw LoginForm.refused("its form has too many fields") }
            guard tag.attributes["disabled"] == nil, let name = tag.attributes["name"], !name.isEmpty else { return }
            let value = tag.attributes["value"] ?? ""
            guard name.utf8.count <= 256, value.utf8.count <= LoginForm.maximumValueBytes else {
                throw LoginForm.refused("a field of its form is too long")
            }
            switch tag.attributes["type"]?.lowercased() ?? "text" {
            case "hidden": hidden.append((name, value))
            case "password": passwords.append(name)
            case "text", "email": texts.append(name)
            default: break
            }
        }
    }

    fileprivate static func refused(_ summary: String, found: String? = nil, hint: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .loginPage, fault: .peer, "the login page can not be used: \(summary)",
            expected: "one form with e-mail address and password", found: found, hint: hint)
    }
}
