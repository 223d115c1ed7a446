import Diagnostics
import Foundation
import HDSClient
import HTTPClient
import JOSEEncryption
import KMSClient
import KMSProtocol
import SecretMemory
import Synchronization
import Testing
import WebSocketChannel
import WireText

/// A device that speaks to the KMS through the core as it likes: real login, real token, real event socket, any string.
final class HostileClient: Sendable {
    let person: Person
    let key: VerifiedStaticKey
    let cloudToken: String
    let kmsToken: String
    private let web: WebClient
    private let coreURL: String
    private let deviceURL: String
    private let socket: WebSocketConnection
    private let inbox: Inbox
    private let reading: Task<Void, Never>

    private final class Inbox: Sendable {
        let messages = Mutex<[String]>([])
        let isReady = Mutex(false)
    }

    init(_ name: String, in deployment: Deployment) async throws {
        person = try await Person.logIn(name, in: deployment, device: UUID().uuidString)
        await person.close()
        let tokens = try #require(try person.store.current().tokens)
        cloudToken = tokens.cloud.reveal { $0 }
        kmsToken = tokens.kms.reveal { $0 }
        web = try deployment.coreClient()
        coreURL = deployment.domain.coreURL
        let authorization = ("Authorization", "Bearer " + cloudToken)
        let registered = try await web.send(
            WebRequest(
                method: "POST", url: coreURL + "/devices",
                headers: [authorization, ("Content-Type", "application/json")],
                body: Array(#"{"name":"hostile","deviceType":"test"}"#.utf8)))
        let device = try JSONDocument(registered.body).root
        deviceURL = try #require(device["url"]?.string)
        let details = try await web.send(
            WebRequest(url: coreURL + "/encryption/api/v1/kms/" + person.id, headers: [authorization]))
        let profile = try deployment.profile()
        key = try StaticKeyTrust(cluster: profile.kmsCluster, roots: profile.kmsRoots)
            .verify(details: details.body, at: .now())
        let inbox = Inbox()
        self.inbox = inbox
        let socket = try await web.webSocket(
            try #require(device["webSocketUrl"]?.string)
                + "?outboundWireFormat=text&bufferStates=true&aliasHttpStatus=true")
        self.socket = socket
        reading = Task {
            do {
                for try await message in socket.incoming {
                    guard case .text(let text) = message, let root = try? JSONDocument(Array(text.utf8)).root else {
                        continue
                    }
                    inbox.isReady.withLock { $0 = true }
                    if let id = root["id"]?.string { socket.enqueue(text: #"{"messageId":"\#(id)","type":"ack"}"#) }
                    guard root["data"]?["eventType"]?.string == "encryption.kms_message" else { continue }
                    let list = root["data"]?["encryption"]?["kmsMessages"]?.elements ?? []
                    inbox.messages.withLock { $0 += list.compactMap(\.string) }
                }
            } catch {
                // The socket's end shows in what does not come.
            }
        }
        socket.enqueue(
            text: #"{"id":"1","type":"authorization","data":{"token":"Bearer \#(cloudToken)"},"trackingId":"t"}"#)
        _ = try await eventually("the event socket") { inbox.isReady.withLock { $0 } ? true : nil }
    }

    func close() async {
        await socket.close()
        await reading.value
        await web.close()
    }

    func credential(bearer: String? = nil) -> KMSCredential {
        KMSCredential(clientID: deviceURL, userID: person.id, bearer: Redacted(bearer ?? kmsToken))
    }

    // MARK: - Through the core

    /// The core's status for a body of its route for the KMS.
    func post(body: [UInt8]) async throws -> Int {
        try await web.send(
            WebRequest(
                method: "POST", url: coreURL + "/encryption/api/v1/kms/messages",
                headers: [
                    ("Authorization", "Bearer " + cloudToken), ("Content-Type", "application/json"),
                    ("cisco-device-url", deviceURL),
                ], body: body)
        ).status
    }

    func post(_ text: String) async throws -> Int {
        var json = JSONWriter()
        json.beginObject()
        json.member("destination", "kms://" + Domain.kmsHost)
        json.member("kmsMessages", [text])
        json.endObject()
        return try await post(body: json.bytes())
    }

    /// Sends a string and waits for the one that comes back. What the KMS declines because a budget is used up is sent
    /// again, as clients do.
    func ask(_ text: String) async throws -> String {
        for _ in 0..<10 {
            inbox.messages.withLock { $0 = [] }
            #expect(try await post(text) == 202)
            do {
                return try await eventually("an answer of the KMS", within: .seconds(3)) {
                    inbox.messages.withLock { $0.first }
                }
            } catch is NotInTime {
                continue
            }
        }
        throw NotInTime(what: "an answer of the KMS", limit: .seconds(30), seen: nil)
    }

    /// The signed reset that a string gets.
    func reset(for text: String) async throws -> KMSReset {
        guard case .reset(let reset) = try SignedMessage(try await ask(text), signedBy: key) else {
            throw NotInTime(what: "a reset", limit: .zero, seen: "a signed answer")
        }
        return reset
    }

    // MARK: - Sessions

    func openSession(bearer: String? = nil) async throws -> KMSClientSession {
        let opening = try SessionOpening(to: key, as: credential(bearer: bearer), at: .now())
        guard case .answer(let answer) = try SignedMessage(try await ask(opening.text), signedBy: key) else {
            throw NotInTime(what: "a session", limit: .zero, seen: "a reset")
        }
        return try opening.finish(answer, at: .now())
    }

    /// The signed answer to the opening of a session with this JWK.
    func opening(withJWK jwk: String) async throws -> KMSAnswer {
        let json = """
            {"requestId":"r","method":"create","uri":"/ecdhe","jwk":\(jwk),\(client(bearer: kmsToken))}
            """
        let text = try Array(json.utf8).withUnsafeBytes {
            try JWE.encryptRSAOAEP($0, to: key.publicKey, kid: key.kid)
        }
        let back = try await ask(String(decoding: text, as: UTF8.self))
        guard case .answer(let answer) = try SignedMessage(back, signedBy: key) else {
            throw NotInTime(what: "a signed answer", limit: .zero, seen: "a reset")
        }
        return answer
    }

    func client(bearer: String) -> String {
        #""client":{"clientId":"\#(deviceURL)","credential":{"userId":"\#(person.id)","bearer":"\#(bearer)"}}"#
    }

    /// A request with any members, without counter and time, as other clients send it.
    func wrap(_ members: String, bearer: String? = nil, under session: KMSClientSession) throws -> String {
        try wrap(json: "{\(members),\(client(bearer: bearer ?? kmsToken))}", under: session)
    }

    func wrap(json: String, under session: KMSClientSession, kid: String? = nil) throws -> String {
        let text = try Array(json.utf8).withUnsafeBytes {
            try JWE.encryptDirect($0, key: Self.sessionKey(session), kid: kid ?? session.uri)
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func sessionKey(_ session: KMSClientSession) throws -> SymmetricKey {
        var json = JSONWriter()
        session.write(to: &json)
        let bytes = try JSONDocument(json.bytes()).root["key"]?.string.flatMap { Base64URL.decode($0) }
        return SymmetricKey(copying: try #require(bytes))
    }
}
