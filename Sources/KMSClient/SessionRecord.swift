package import Diagnostics
import KMSProtocol
import SecretMemory
package import WireText

// A session in sealed storage: JSON that holds the key, to be encrypted by whoever stores it.
extension KMSClientSession {
    /// Writes the session as one JSON object.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("uri", uri)
        json.member("userId", userID)
        json.member("created", created.iso8601)
        json.member("expires", expires.iso8601)
        json.member("clockOffset", clockOffset)
        json.member("lastCounter", lastCounter)
        key.withUnsafeBytes { json.base64URLMember("key", $0) }
        json.endObject()
    }

    package convenience init(restoring node: JSONNode) throws(DiagnosedError) {
        guard let uri = node["uri"]?.string, let parsed = KMSURI(uri), let host = parsed.host,
            parsed.isSession(at: host),
            let user = node["userId"]?.string, !user.isEmpty,
            let created = node["created"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let expires = node["expires"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let offset = node["clockOffset"]?.integer, let counter = node["lastCounter"]?.integer, counter >= 0,
            counter < 1 << 53, var bytes = node["key"]?.withPlainString({ Base64URL.decode($0) }) ?? nil,
            bytes.count == 32
        else {
            throw DiagnosedError(
                .kmsSessionRecord, fault: .store, "the stored session can not be read",
                hint: "a new one is opened in its place")
        }
        defer { wipe(&bytes) }
        self.init(
            uri: uri, host: host, userID: user, key: SymmetricKey(copying: bytes), created: created, expires: expires,
            clockOffset: offset, lastCounter: counter)
    }
}
