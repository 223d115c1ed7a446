import Encryption
import JOSEEncryption
@testable import KMSClient
import KMSProtocol
import KeyManagement
import SecretMemory
import WireText

// How requests are written, and what comes back is read.
extension ModelWorld {
    /// As the client's own code says it, where it has a word for it.
    func operation(_ request: Request) -> KMSOperation? {
        switch request {
        case .ping: .ping
        case .createKeys(let count): .createKeys(count: count)
        case .retrieveKey(let ref): .retrieveKey(key(ref))
        case .bindKey(let ref, let target): .bindKey(key(ref), resource: space(target))
        case .retrieveKeys(let ref, let from, let before, let count):
            .retrieveKeys(resource: space(ref), boundAfter: from, boundBefore: before, count: count)
        case .createSpace(let keys, let ids, nil, 0):
            .createResource(keys: keys.map { key($0) }, users: ids.map(text))
        case .retrieveSpace(let ref): .retrieveResource(space(ref))
        case .deleteSpace(let ref): .deleteResource(space(ref))
        case .authorize(let ref, let ids, nil, 0, true): .createAuthorizations(resource: space(ref), ids: ids.map(text))
        case .list(let ref, let only): .retrieveAuthorizations(resource: space(ref), id: only.map(text))
        case .remove(let ref, let ids, true) where ids.count == 1:
            .deleteAuthorization(resource: space(ref), id: text(ids[0]))
        case .deleteSession(let ref): .deleteSession(session(ref))
        default: nil
        }
    }

    func raw(
        _ request: Request, _ credential: KMSCredential, _ device: Device, id: String, counter: Int64?, spelling: Int
    ) throws -> [UInt8] {
        var method = KMSRequest.Method.retrieve
        var uri = ""
        var members: (inout JSONWriter) -> Void = { _ in }
        switch request {
        case .ping: (method, uri) = (.update, "/ping")
        case .createKeys(let count):
            (method, uri) = (.create, "/keys")
            members = { $0.member("count", count) }
        case .retrieveKey(let ref): uri = key(ref, spelling)
        case .bindKey(let ref, let target):
            (method, uri) = (.update, key(ref, spelling))
            members = { [self] in $0.member("resourceUri", space(target, spelling)) }
        case .bindKeyAbroad(let ref):
            (method, uri) = (.update, key(ref, spelling))
            members = { [self] in $0.member("resourceUri", text(.foreignSpace)) }
        case .retrieveKeys(let ref, let from, let before, let count):
            uri = space(ref, spelling) + "/keys"
            members = {
                $0.member("boundAfter", ifPresent: from?.iso8601)
                $0.member("boundBefore", ifPresent: before?.iso8601)
                if let count { $0.member("count", count) }
            }
        case .createSpace(let keys, let ids, let ttl, let unnamed):
            (method, uri) = (.create, spelling == 1 ? "/resources" : "kms://\(TestKMS.host)/resources")
            members = { [self] json in
                json.member("keyUris", keys.map { key($0, spelling) })
                writeIDs(&json, ids, spelling)
                if let ttl { json.member("ttl", ttl) }
                if unnamed != 0 { json.member("anonymous", unnamed) }
            }
        case .retrieveSpace(let ref): uri = space(ref, spelling)
        case .deleteSpace(let ref): (method, uri) = (.delete, space(ref, spelling))
        case .authorize(let ref, let ids, let role, let unnamed, let details):
            (method, uri) = (.create, "/authorizations" + (details ? "" : "?responseDetails=false"))
            members = { [self] json in
                json.member("resourceUri", space(ref, spelling))
                writeIDs(&json, ids, spelling)
                json.member("roleUri", ifPresent: role?.rawValue)
                if unnamed != 0 { json.member("anonymous", unnamed) }
            }
        case .list(let ref, let only):
            uri = space(ref, spelling) + "/authorizations"
            if let only { uri += "?authId=" + KMSURI.percentEncoded(text(only)) }
        case .remove(let ref, let ids, let byQuery):
            (method, uri) = (.delete, space(ref, spelling) + "/authorizations")
            if byQuery, ids.count == 1 {
                uri += "?authId=" + KMSURI.percentEncoded(text(ids[0]))
            } else {
                members = { [self] in writeIDs(&$0, ids, spelling) }
            }
        case .removeEntry(let ref): (method, uri) = (.delete, entry(ref, spelling))
        case .deleteSession(let ref): (method, uri) = (.delete, session(ref, spelling))
        case .odd(let odd): (method, uri) = (KMSRequest.Method(rawValue: odd.method) ?? .retrieve, odd.uri)
        }
        let json = RequestEnvelope.json(
            requestID: id, method: method, uri: uri, credential: credential,
            stamp: counter.map { .init(counter: $0, time: clock.now) }, members: members)
        var plain = json.text()
        if case .odd(.unknownMethod) = request {
            plain = plain.replacing("\"method\":\"retrieve\"", with: "\"method\":\"shred\"")
        }
        return try Array(plain.utf8).withUnsafeBytes {
            try JWE.encryptDirect($0, key: device.session.key, kid: device.session.uri)
        }
    }

    /// Clients write ids as `userIds`, as `authIds`, or the same in both (section 8).
    private func writeIDs(_ json: inout JSONWriter, _ ids: [Identity], _ spelling: Int) {
        let texts = ids.map(text)
        if spelling != 1 { json.member("userIds", texts) }
        if spelling != 0 { json.member("authIds", texts) }
    }

    /// What came back: nil for a reset, which is checked here.
    func open(_ reply: RequestHandler.Reply, of ref: Ref, by node: TestKMS) throws -> (KMSAnswer, [UInt8])? {
        guard case .answer(let octets) = reply, let device = devices[ref] else {
            throw Difference("no answer at all: \(reply)")
        }
        let text = String(decoding: octets, as: UTF8.self)
        guard SignedMessage.hasForm(text) else { return (try device.session.open(text), octets) }
        let reset = try node.openReset(reply)
        guard reset.session == device.session.uri else {
            throw Difference("a reset of \(reset.session ?? "nothing") for \(device.session.uri)")
        }
        return nil
    }
}
