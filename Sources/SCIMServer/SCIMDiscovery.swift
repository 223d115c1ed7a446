import WireText

/// What a client may know without asking twice (RFC 7644, section 4): what this server can, its kinds of resources, their
/// schemas.
enum SCIMDiscovery {
    static func serviceProviderConfiguration(_ base: String) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("schemas", ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"])
        for (name, isSupported) in [
            ("patch", true), ("changePassword", false), ("sort", false), ("etag", true),
        ] {
            json.name(name)
            json.beginObject()
            json.member("supported", isSupported)
            json.endObject()
        }
        json.name("bulk")
        json.beginObject()
        json.member("supported", false)
        json.member("maxOperations", 0)
        json.member("maxPayloadSize", 0)
        json.endObject()
        json.name("filter")
        json.beginObject()
        json.member("supported", true)
        json.member("maxResults", SCIMServer.mostResults)
        json.endObject()
        json.name("authenticationSchemes")
        json.beginArray()
        json.beginObject()
        json.member("type", "oauthbearertoken")
        json.member("name", "Bearer token")
        json.member("description", "A token that the administrator of this service gave to the client")
        json.member("primary", true)
        json.endObject()
        json.endArray()
        meta("ServiceProviderConfig", "\(base)/ServiceProviderConfig", &json)
        json.endObject()
        return json.bytes()
    }

    static let resourceTypes = ["User": SCIMUser.schema, "Group": SCIMGroup.schema]

    static func resourceType(_ name: String, _ base: String, _ json: inout JSONWriter) {
        json.beginObject()
        json.member("schemas", ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"])
        json.member("id", name)
        json.member("name", name)
        json.member("endpoint", "/\(name)s")
        json.member("schema", resourceTypes[name] ?? "")
        meta("ResourceType", "\(base)/ResourceTypes/\(name)", &json)
        json.endObject()
    }

    private struct Attribute {
        var name: String
        var type = "string"
        var isMany = false
        var isRequired = false
        var isExact = false
        var uniqueness = "none"
        var parts: [Attribute] = []
    }

    private static let attributes: [String: [Attribute]] = [
        SCIMUser.schema: [
            Attribute(name: "userName", isRequired: true, uniqueness: "server"), Attribute(name: "displayName"),
            Attribute(
                name: "name", type: "complex",
                parts: [Attribute(name: "formatted"), Attribute(name: "givenName"), Attribute(name: "familyName")]),
            Attribute(
                name: "emails", type: "complex", isMany: true,
                parts: [
                    Attribute(name: "value", isRequired: true), Attribute(name: "type"),
                    Attribute(name: "primary", type: "boolean"),
                ]),
            Attribute(name: "active", type: "boolean"),
        ],
        SCIMGroup.schema: [
            Attribute(name: "displayName", isRequired: true),
            Attribute(
                name: "members", type: "complex", isMany: true,
                parts: [Attribute(name: "value", isRequired: true, isExact: true), Attribute(name: "type")]),
        ],
    ]

    static func schema(_ urn: String, _ base: String, _ json: inout JSONWriter) {
        json.beginObject()
        json.member("schemas", ["urn:ietf:params:scim:schemas:core:2.0:Schema"])
        json.member("id", urn)
        json.member("name", urn == SCIMUser.schema ? "User" : "Group")
        json.name("attributes")
        json.beginArray()
        for attribute in attributes[urn] ?? [] { write(attribute, &json) }
        json.endArray()
        meta("Schema", "\(base)/Schemas/\(urn)", &json)
        json.endObject()
    }

    private static func write(_ attribute: Attribute, _ json: inout JSONWriter) {
        json.beginObject()
        json.member("name", attribute.name)
        json.member("type", attribute.type)
        json.member("multiValued", attribute.isMany)
        json.member("required", attribute.isRequired)
        json.member("caseExact", attribute.isExact)
        json.member("mutability", "readWrite")
        json.member("returned", "default")
        json.member("uniqueness", attribute.uniqueness)
        if !attribute.parts.isEmpty {
            json.name("subAttributes")
            json.beginArray()
            for part in attribute.parts { write(part, &json) }
            json.endArray()
        }
        json.endObject()
    }

    static func meta(_ kind: String, _ location: String, _ json: inout JSONWriter) {
        json.name("meta")
        json.beginObject()
        json.member("resourceType", kind)
        json.member("location", location)
        json.endObject()
    }

    /// A list of all there are: nothing to page through.
    static func list(_ names: [String], _ write: (String, inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("schemas", [SCIMServer.listSchema])
        json.member("totalResults", names.count)
        json.member("startIndex", 1)
        json.member("itemsPerPage", names.count)
        json.name("Resources")
        json.beginArray()
        for name in names { write(name, &json) }
        json.endArray()
        json.endObject()
        return json.bytes()
    }
}
