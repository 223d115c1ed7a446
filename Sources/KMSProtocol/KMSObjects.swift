package import SecretMemory
package import WireText

/// A content key as the wire shows it (protocol, section 7): 256 random bits with owner and dates.
package struct KMSKey: Sendable {
    package var uri: String
    package var key: SymmetricKey
    package var userID: String
    package var clientID: String
    package var createDate: Timestamp
    package var expirationDate: Timestamp
    package var resourceURI: String?
    package var bindDate: Timestamp?

    package init(
        uri: String, key: SymmetricKey, userID: String, clientID: String, createDate: Timestamp,
        expirationDate: Timestamp, resourceURI: String? = nil, bindDate: Timestamp? = nil
    ) {
        self.uri = uri
        self.key = key
        self.userID = userID
        self.clientID = clientID
        self.createDate = createDate
        self.expirationDate = expirationDate
        self.resourceURI = resourceURI
        self.bindDate = bindDate
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("uri", uri)
        json.name("jwk")
        json.beginObject()
        json.member("kid", uri)
        json.member("kty", "oct")
        key.withUnsafeBytes { json.base64URLMember("k", $0) }
        json.endObject()
        json.member("userId", userID)
        json.member("clientId", clientID)
        json.member("createDate", createDate.iso8601)
        json.member("expirationDate", expirationDate.iso8601)
        json.member("resourceUri", ifPresent: resourceURI)
        json.member("bindDate", ifPresent: bindDate?.iso8601)
        json.endObject()
    }

    init?(_ node: JSONNode) {
        guard let uri = node["uri"]?.string, let jwk = node["jwk"], jwk["kty"]?.string == "oct",
            var bytes = jwk["k"]?.withPlainString({ Base64URL.decode($0) }) ?? nil, bytes.count == 32,
            let expires = node["expirationDate"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { return nil }
        self.init(
            uri: uri, key: SymmetricKey(copying: bytes), userID: node["userId"]?.string ?? "",
            clientID: node["clientId"]?.string ?? "",
            createDate: node["createDate"]?.string.flatMap { Timestamp(iso8601: $0) } ?? Timestamp(milliseconds: 0),
            expirationDate: expires, resourceURI: node["resourceUri"]?.string,
            bindDate: node["bindDate"]?.string.flatMap { Timestamp(iso8601: $0) })
        wipe(&bytes)
    }
}

/// A key resource object: what a space is to the KMS.
package struct KMSResource: Sendable, Equatable {
    package var uri: String
    package var keyURIs: [String]
    package var authorizationURIs: [String]
    package var expirationDate: Timestamp?
    /// When an authorization was removed last; keys bound before are due for rotation (docs/kms-extensions.md).
    package var lastRemovalDate: Timestamp?

    package init(
        uri: String, keyURIs: [String], authorizationURIs: [String], expirationDate: Timestamp? = nil,
        lastRemovalDate: Timestamp? = nil
    ) {
        self.uri = uri
        self.keyURIs = keyURIs
        self.authorizationURIs = authorizationURIs
        self.expirationDate = expirationDate
        self.lastRemovalDate = lastRemovalDate
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("uri", uri)
        json.member("keyUris", keyURIs)
        json.member("authorizationUris", authorizationURIs)
        json.member("expirationDate", ifPresent: expirationDate?.iso8601)
        json.member("lastRemovalDate", ifPresent: lastRemovalDate?.iso8601)
        json.endObject()
    }

    init?(_ node: JSONNode) {
        guard let uri = node["uri"]?.string else { return nil }
        self.init(
            uri: uri, keyURIs: node["keyUris"]?.strings ?? [],
            authorizationURIs: node["authorizationUris"]?.strings ?? [],
            expirationDate: node["expirationDate"]?.string.flatMap { Timestamp(iso8601: $0) },
            lastRemovalDate: node["lastRemovalDate"]?.string.flatMap { Timestamp(iso8601: $0) })
    }
}

/// One entry of a resource's access list. `authID` stands exactly as the client gave it.
package struct KMSAuthorization: Sendable, Equatable {
    package var uri: String
    /// Empty for an unnamed holder; the wire then has no such member.
    package var authID: String
    package var resourceURI: String
    package var roleURI: String?
    package var createDate: Timestamp?
    /// Token of an unnamed holder, in the answer that made it only. A secret.
    package var bearer: String?
    /// In the answer to a removal: the path by which the one removed still reads (docs/kms-extensions.md).
    package var remainingAccess: String?

    package init(
        uri: String, authID: String, resourceURI: String, roleURI: String? = nil, createDate: Timestamp? = nil,
        bearer: String? = nil
    ) {
        self.uri = uri
        self.authID = authID
        self.resourceURI = resourceURI
        self.roleURI = roleURI
        self.createDate = createDate
        self.bearer = bearer
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("uri", uri)
        if !authID.isEmpty { json.member("authId", authID) }
        json.member("resourceUri", resourceURI)
        json.member("roleUri", ifPresent: roleURI)
        json.member("bearer", ifPresent: bearer)
        json.member("createDate", ifPresent: createDate?.iso8601)
        json.member("remainingAccess", ifPresent: remainingAccess)
        json.endObject()
    }

    init?(_ node: JSONNode) {
        guard let uri = node["uri"]?.string, let resource = node["resourceUri"]?.string else { return nil }
        self.init(
            uri: uri, authID: node["authId"]?.string ?? "", resourceURI: resource, roleURI: node["roleUri"]?.string,
            createDate: node["createDate"]?.string.flatMap { Timestamp(iso8601: $0) }, bearer: node["bearer"]?.string)
        remainingAccess = node["remainingAccess"]?.string
    }
}

/// The KMS's half of a session key agreement with the session's name and life.
package struct KMSEphemeralKey: Sendable, Equatable {
    package var uri: String
    /// Coordinates of the KMS's public point, 32 octets each.
    package var x: [UInt8]
    package var y: [UInt8]
    package var userID: String
    package var clientID: String
    package var createDate: Timestamp
    package var expirationDate: Timestamp
    /// Of ML-KEM-768, where the client offered it and the KMS takes part (docs/post-quantum.md).
    package var ciphertext: [UInt8]?

    package init(
        uri: String, x: [UInt8], y: [UInt8], userID: String, clientID: String, createDate: Timestamp,
        expirationDate: Timestamp, ciphertext: [UInt8]? = nil
    ) {
        self.uri = uri
        self.x = x
        self.y = y
        self.ciphertext = ciphertext
        self.userID = userID
        self.clientID = clientID
        self.createDate = createDate
        self.expirationDate = expirationDate
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("uri", uri)
        json.name("jwk")
        json.beginObject()
        json.member("kty", "EC")
        json.member("crv", "P-256")
        json.member("x", Base64URL.encode(x))
        json.member("y", Base64URL.encode(y))
        json.endObject()
        if let ciphertext { KMSPostQuantum.write(ciphertext: ciphertext, to: &json) }
        json.member("userId", userID)
        json.member("clientId", clientID)
        json.member("createDate", createDate.iso8601)
        json.member("expirationDate", expirationDate.iso8601)
        json.endObject()
    }

    init?(_ node: JSONNode) {
        guard let uri = node["uri"]?.string, let jwk = node["jwk"], jwk["kty"]?.string == "EC",
            jwk["crv"]?.string == "P-256", let x = jwk["x"]?.string.flatMap({ Base64URL.decode($0) }),
            let y = jwk["y"]?.string.flatMap({ Base64URL.decode($0) }), x.count <= 32, y.count <= 32,
            let created = node["createDate"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let expires = node["expirationDate"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { return nil }
        var ciphertext: [UInt8]?
        if let offered = node[KMSPostQuantum.member] {
            guard let octets = KMSPostQuantum.ciphertext(in: offered) else { return nil }
            ciphertext = octets
        }
        self.init(
            uri: uri, x: x, y: y, userID: node["userId"]?.string ?? "", clientID: node["clientId"]?.string ?? "",
            createDate: created, expirationDate: expires, ciphertext: ciphertext)
    }
}
