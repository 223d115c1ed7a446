package import WireText

/// The envelope of an answer (protocol, section 5), as values: written by the KMS, read by clients.
package struct KMSAnswer: Sendable {
    package enum Body: Sendable {
        case none
        case ephemeralKey(KMSEphemeralKey)
        case keys([KMSKey])
        case key(KMSKey)
        case resource(KMSResource)
        /// A resource with the authorizations of its unnamed holders, which carry their bearers.
        case resourceWithHolders(KMSResource, [KMSAuthorization])
        case authorizations([KMSAuthorization])
        /// Removed ones: `authorizations` holds all, `authorization` the first for the draft's form.
        case removed([KMSAuthorization])
        case searchKeys([KMSSearchKey])
        case memberships(KMSMemberships)
        case sealingKey(KMSSealingKey)
        /// A compact JWS under the static key.
        case signature(String)
    }

    package var status: Int
    package var requestID: String?
    package var reason: String?
    package var errorCode: Int?
    package var body: Body

    package init(status: Int, requestID: String?, body: Body = .none) {
        self.status = status
        self.requestID = requestID
        self.body = body
    }

    package init(_ failure: KMSFailure, requestID: String?) {
        status = failure.status
        self.requestID = requestID
        reason = failure.reason
        errorCode = failure.errorCode
        body = .none
    }

    /// The JSON, in a buffer that is wiped.
    package func json() -> JSONWriter {
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.member("status", status)
        json.member("requestId", ifPresent: requestID)
        json.member("reason", ifPresent: reason)
        if let errorCode { json.member("errorCode", errorCode) }
        switch body {
        case .none: break
        case .ephemeralKey(let key):
            json.name("key")
            key.write(to: &json)
        case .keys(let keys):
            json.name("keys")
            json.beginArray()
            for key in keys { key.write(to: &json) }
            json.endArray()
        case .key(let key):
            json.name("key")
            key.write(to: &json)
        case .resource(let resource):
            json.name("resource")
            resource.write(to: &json)
        case .resourceWithHolders(let resource, let holders):
            json.name("resource")
            resource.write(to: &json)
            Self.write(holders, to: &json)
        case .authorizations(let list): Self.write(list, to: &json)
        case .removed(let list):
            Self.write(list, to: &json)
            if let first = list.first {
                json.name("authorization")
                first.write(to: &json)
            }
        case .searchKeys(let keys):
            json.name("searchKeys")
            json.beginArray()
            for key in keys { key.write(to: &json) }
            json.endArray()
        case .memberships(let memberships):
            json.name("memberships")
            memberships.write(to: &json)
        case .sealingKey(let key):
            json.name("sealingKey")
            key.write(to: &json)
        case .signature(let jws): json.member("signature", jws)
        }
        json.endObject()
        return json
    }

    private static func write(_ list: [KMSAuthorization], to json: inout JSONWriter) {
        json.name("authorizations")
        json.beginArray()
        for authorization in list { authorization.write(to: &json) }
        json.endArray()
    }

    /// Reads an answer on the client's side; nil when it is none: not an object, no `status`, or with a `method`.
    package init?(_ root: JSONNode) {
        guard root.kind == .object, root["method"] == nil, let status = root["status"]?.integer,
            (100...599).contains(status)
        else { return nil }
        self.status = Int(status)
        requestID = root["requestId"]?.string
        reason = root["reason"]?.string
        errorCode = root["errorCode"]?.integer.map { Int($0) }
        if let node = root["key"] {
            if let key = KMSKey(node) {
                body = .key(key)
            } else if let key = KMSEphemeralKey(node) {
                body = .ephemeralKey(key)
            } else {
                return nil
            }
        } else if let nodes = root["keys"]?.elements {
            let keys = nodes.compactMap { KMSKey($0) }
            guard keys.count == nodes.count else { return nil }
            body = .keys(keys)
        } else if let node = root["resource"] {
            guard let resource = KMSResource(node) else { return nil }
            let holders = root["authorizations"]?.elements?.compactMap { KMSAuthorization($0) } ?? []
            body = holders.isEmpty ? .resource(resource) : .resourceWithHolders(resource, holders)
        } else if let nodes = root["authorizations"]?.elements {
            let list = nodes.compactMap { KMSAuthorization($0) }
            guard list.count == nodes.count else { return nil }
            body = root["authorization"] == nil ? .authorizations(list) : .removed(list)
        } else if let node = root["authorization"] {
            guard let one = KMSAuthorization(node) else { return nil }
            body = .removed([one])
        } else if let nodes = root["searchKeys"]?.elements {
            let keys = nodes.compactMap { KMSSearchKey($0) }
            guard keys.count == nodes.count else { return nil }
            body = .searchKeys(keys)
        } else if let node = root["memberships"] {
            guard let memberships = KMSMemberships(node) else { return nil }
            body = .memberships(memberships)
        } else if let node = root["sealingKey"] {
            guard let key = KMSSealingKey(node) else { return nil }
            body = .sealingKey(key)
        } else if let jws = root["signature"]?.string {
            body = .signature(jws)
        } else {
            body = .none
        }
    }
}

/// A signed reset (protocol, section 5): the KMS can not answer encrypted.
package struct KMSReset: Sendable, Equatable {
    package var reason: String
    package var requestID: String
    /// URI of the session it speaks of, where the request named one (docs/kms-extensions.md).
    package var session: String?
    /// When the KMS signed it (docs/kms-extensions.md).
    package var time: Timestamp?

    package init(reason: String, requestID: String, session: String?, time: Timestamp?) {
        self.reason = reason
        self.requestID = requestID
        self.session = session
        self.time = time
    }

    package func json() -> JSONWriter {
        var json = JSONWriter()
        json.beginObject()
        json.member("status", KMSStatus.reset)
        json.member("reason", reason)
        json.member("requestId", requestID)
        json.member("session", ifPresent: session)
        json.member("time", ifPresent: time?.iso8601)
        json.endObject()
        return json
    }

    package init?(_ root: JSONNode) {
        guard root["status"]?.integer == Int64(KMSStatus.reset), root["method"] == nil else { return nil }
        reason = root["reason"]?.string ?? ""
        requestID = root["requestId"]?.string ?? ""
        session = root["session"]?.string
        time = root["time"]?.string.flatMap { Timestamp(iso8601: $0) }
    }
}
