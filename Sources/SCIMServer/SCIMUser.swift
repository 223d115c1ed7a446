import DirectoryModel
import WireText

/// A user as SCIM shows and takes him (RFC 7643, section 4.1): the attributes that mean something here. Others are taken
/// without complaint and not kept; a password is never looked at.
struct SCIMUser: Sendable, Equatable {
    struct Address: Sendable, Equatable {
        var value: String
        var type: String?
        var isPrimary = false
    }

    static let schema = "urn:ietf:params:scim:schemas:core:2.0:User"
    private static let longest = 256
    private static let mostAddresses = 20

    var externalID: String?
    var userName = ""
    var displayName: String?
    var formatted: String?
    var givenName: String?
    var familyName: String?
    var emails: [Address] = []
    var isActive = true

    init() {}

    /// From the body of a POST or PUT, or from what is kept.
    init(_ root: JSONNode) throws(SCIMError) {
        guard let members = root.members else { throw .invalid(.invalidSyntax, "a JSON object is expected") }
        for (name, value) in members { try set(SCIMPath.plain(name), value) }
        try check()
    }

    /// What has to be there, whatever was changed.
    func check() throws(SCIMError) {
        guard !userName.isEmpty else { throw .invalid(.invalidValue, "userName is missing") }
        guard address != nil else {
            throw .invalid(.invalidValue, "an e-mail address is missing: in emails, or as the userName")
        }
    }

    /// The address under which the person is known here: the primary one, else that of work, else the first, else a userName
    /// that is one.
    var address: String? {
        let chosen =
            emails.first(where: \.isPrimary) ?? emails.first { $0.type?.lowercased() == "work" } ?? emails.first
        guard let text = chosen?.value ?? (userName.contains("@") ? userName : nil) else { return nil }
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty } && !text.contains(where: \.isWhitespace)
            ? text : nil
    }

    var name: String {
        if let name = displayName ?? formatted { return name }
        let parts = [givenName, familyName].compactMap { $0 }
        return parts.isEmpty ? userName : parts.joined(separator: " ")
    }

    // MARK: Attributes

    /// Sets an attribute by its path in lower case, as `name.givenname`; null takes it away.
    mutating func set(_ path: String, _ value: JSONNode) throws(SCIMError) {
        switch path {
        case "externalid": externalID = try Self.text(value, path)
        case "username": userName = try Self.text(value, path) ?? ""
        case "displayname": displayName = try Self.text(value, path)
        case "name.formatted": formatted = try Self.text(value, path)
        case "name.givenname": givenName = try Self.text(value, path)
        case "name.familyname": familyName = try Self.text(value, path)
        case "name":
            (formatted, givenName, familyName) = (nil, nil, nil)
            for (name, part) in value.members ?? [] { try set("name." + name.lowercased(), part) }
        case "active": isActive = try Self.flag(value)
        case "emails": emails = try Self.addresses(value)
        default: break
        }
    }

    mutating func remove(_ path: String) throws(SCIMError) {
        switch path {
        case "externalid": externalID = nil
        case "displayname": displayName = nil
        case "name": (formatted, givenName, familyName) = (nil, nil, nil)
        case "name.formatted": formatted = nil
        case "name.givenname": givenName = nil
        case "name.familyname": familyName = nil
        case "emails": emails = []
        case "username", "active": throw .invalid(.mutability, "\(path) can not be removed")
        default: break
        }
    }

    static func addresses(_ value: JSONNode) throws(SCIMError) -> [Address] {
        if value.isNull { return [] }
        let elements = value.elements ?? [value]
        guard elements.count <= mostAddresses else { throw .invalid(.invalidValue, "too many emails") }
        var list: [Address] = []
        for element in elements {
            let node = element.members == nil ? element : element["value"] ?? element
            guard let text = try text(node, "emails.value") else { continue }
            let type = try element["type"].map { node throws(SCIMError) in try Self.text(node, "emails.type") } ?? nil
            let isPrimary = try element["primary"].map { node throws(SCIMError) in try flag(node) } ?? false
            list.append(Address(value: text, type: type, isPrimary: isPrimary))
        }
        return list
    }

    /// Nil for null and for an empty text, by which some clients mean that there is none.
    static func text(_ node: JSONNode, _ path: String) throws(SCIMError) -> String? {
        if node.isNull { return nil }
        guard let text = node.string, text.utf8.count <= longest,
            text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else { throw .invalid(.invalidValue, "\(path) has to be a text of at most \(longest) octets on one line") }
        return text.isEmpty ? nil : text
    }

    /// Entra ID sends `"False"` for false.
    static func flag(_ node: JSONNode) throws(SCIMError) -> Bool {
        if let flag = node.boolean { return flag }
        switch node.string?.lowercased() {
        case "true": return true
        case "false": return false
        default: throw .invalid(.invalidValue, "true or false is expected")
        }
    }

    // MARK: JSON

    func write(_ json: inout JSONWriter) {
        json.member("externalId", ifPresent: externalID)
        json.member("userName", userName)
        json.member("displayName", ifPresent: displayName)
        if formatted ?? givenName ?? familyName != nil {
            json.name("name")
            json.beginObject()
            json.member("formatted", ifPresent: formatted)
            json.member("givenName", ifPresent: givenName)
            json.member("familyName", ifPresent: familyName)
            json.endObject()
        }
        json.name("emails")
        json.beginArray()
        for email in emails {
            json.beginObject()
            json.member("value", email.value)
            json.member("type", ifPresent: email.type)
            json.member("primary", email.isPrimary)
            json.endObject()
        }
        json.endArray()
        json.member("active", isActive)
    }

    func body() -> String {
        var json = JSONWriter()
        json.beginObject()
        write(&json)
        json.endObject()
        return json.text()
    }
}

/// A group as SCIM shows and takes it (RFC 7643, section 4.2). Members are ids of users; groups in groups are refused.
struct SCIMGroup: Sendable, Equatable {
    static let schema = "urn:ietf:params:scim:schemas:core:2.0:Group"
    static let mostMembers = 50_000

    var externalID: String?
    var displayName = ""
    var members: Set<String> = []

    init() {}

    init(_ root: JSONNode) throws(SCIMError) {
        guard let members = root.members else { throw .invalid(.invalidSyntax, "a JSON object is expected") }
        for (name, value) in members { try set(SCIMPath.plain(name), value) }
        try check()
    }

    func check() throws(SCIMError) {
        guard !displayName.isEmpty else { throw .invalid(.invalidValue, "displayName is missing") }
        guard members.count <= Self.mostMembers else { throw .invalid(.tooMany, "the group has too many members") }
    }

    mutating func set(_ path: String, _ value: JSONNode) throws(SCIMError) {
        switch path {
        case "externalid": externalID = try SCIMUser.text(value, path)
        case "displayname": displayName = try SCIMUser.text(value, path) ?? ""
        case "members": members = try Self.ids(value)
        default: break
        }
    }

    static func ids(_ value: JSONNode) throws(SCIMError) -> Set<String> {
        if value.isNull { return [] }
        var ids: Set<String> = []
        for element in value.elements ?? [value] {
            let node = element.members == nil ? element : element["value"]
            guard let id = node?.string, !id.isEmpty, id.utf8.count <= 256 else {
                throw .invalid(.invalidValue, "a member needs the id of a user as its value")
            }
            guard element["type"]?.string?.lowercased() != "group" else {
                throw .invalid(.invalidValue, "groups in groups are not kept")
            }
            ids.insert(id.lowercased())
        }
        return ids
    }

    func write(_ json: inout JSONWriter, withMembers: Bool) {
        json.member("externalId", ifPresent: externalID)
        json.member("displayName", displayName)
        guard withMembers else { return }
        json.name("members")
        json.beginArray()
        for member in members.sorted() {
            json.beginObject()
            json.member("value", member)
            json.member("type", "User")
            json.endObject()
        }
        json.endArray()
    }

    func body() -> String {
        var json = JSONWriter()
        json.beginObject()
        write(&json, withMembers: true)
        json.endObject()
        return json.text()
    }
}
