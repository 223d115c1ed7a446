import Cryptography
import Diagnostics
import HTTPClient
import WireText

/// What a client leaves of itself when it was told to erase what it keeps: that it has, and what proves it to the
/// authorization service until that knows. File `wiped`, mode 0600, one JSON object.
///
/// 1. The mark is written: from now on the erasure goes on at the next start, whatever happens.
/// 2. The device key is overwritten and removed, then all that was sealed under it.
/// 3. The mark says that it is erased, then who ordered it is told (`settle`).
struct WipeMark: Equatable {
    var wiped: Timestamp
    var isErased = false
    /// Nil: it is known there, or nobody knows of an order.
    var receipt: Receipt?

    /// A refresh token of the login that was ended, which opens nothing any more, and where to bring it.
    struct Receipt: Equatable {
        var profile: DomainProfile
        var token: Redacted<String>

        static func == (left: Self, right: Self) -> Bool {
            left.profile == right.profile && left.token.reveal { left in right.token.reveal { left == $0 } }
        }
    }

    private static let format: Int64 = 1
    private static func path(in folder: String) -> String { folder + "/wiped" }

    static func read(_ folder: String) throws -> WipeMark? {
        guard let bytes = try SafeFile.read(path(in: folder), maximumBytes: 1 << 20) else { return nil }
        // Damaged, it still says what matters: nothing is to be kept.
        guard let root = try? JSONDocument(bytes, limits: .init(maximumDepth: 12, maximumNodes: 10_000)).root,
            root["format"]?.integer == format,
            let wiped = root["wiped"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { return WipeMark(wiped: Timestamp(milliseconds: 0)) }
        var mark = WipeMark(wiped: wiped, isErased: root["erased"]?.boolean ?? false)
        if let node = root["profile"], let profile = try? DomainProfile(node), let token = root["token"]?.string {
            mark.receipt = Receipt(profile: profile, token: Redacted(token))
        }
        return mark
    }

    func write(_ folder: String) throws {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("format", Self.format)
        json.member("wiped", wiped.iso8601)
        json.member("erased", isErased)
        if let receipt {
            json.name("profile")
            receipt.profile.write(to: &json)
            receipt.token.reveal { json.member("token", $0) }
        }
        json.endObject()
        try SafeFile.replace(Self.path(in: folder), with: json.bytes())
    }

    /// Ends an erasure that was begun. Under `state.lock`.
    mutating func erase(_ folder: String) throws {
        let key = folder + "/device.key"
        if try SafeFile.read(key, maximumBytes: 4096) != nil {
            try SafeFile.overwrite(key, with: try RandomBytes.bytes(512))
        }
        for name in SafeFile.names(in: folder)
        where name.hasPrefix("device.key") || name.hasPrefix("state-") || name.hasPrefix("passphrase-tries") {
            try SafeFile.remove(folder + "/" + name)
        }
        isErased = true
        try write(folder)
    }

    /// After somebody has logged in anew; what is still to be told stays.
    static func forget(_ folder: String) throws {
        if let mark = try read(folder), mark.receipt == nil { try SafeFile.remove(path(in: folder)) }
    }

    /// Tells who ordered it, if that has not been done; what fails is tried again by the next command.
    static func settle(_ folder: String, now: @escaping @Sendable () -> Timestamp) async {
        guard var mark = try? read(folder), mark.isErased, let receipt = mark.receipt,
            let web = try? receipt.profile.issuerTrust.webClient(for: receipt.profile.issuer)
        else { return }
        let authorization = AuthorizationClient(
            web: web, issuer: receipt.profile.issuer, clientID: receipt.profile.clientID, now: now)
        do {
            try await authorization.tellWiped(receipt.token, try await authorization.server())
            mark.receipt = nil
            try mark.write(folder)
        } catch {
            // Tried again.
        }
        await web.close()
    }

    static func error(at wiped: Timestamp) -> DiagnosedError {
        DiagnosedError(
            .deviceWiped, fault: .client, "your organisation had this device wiped: keys, spaces and login are erased",
            found: "at \(wiped)",
            hint: "ask your administrator; if you may go on: 'hds login EMAIL' with your domain's profile")
    }
}
