import Diagnostics
import HTTPClient
import KMSClient
import WireText

/// The core's HTTP interface (docs/core-api.md), typed. The core is not trusted: what it says is checked where it is used.
///
/// Every request carries the token for the cloud and goes to the pinned core only. `cloud-unavailable` means that sending
/// again can help; a token that was refused is renewed once.
package struct CloudService: Sendable {
    let web: WebClient
    let pins: DomainPins
    let tokens: TokenSource
    let bootstrap: Bootstrap

    /// Where the services are, before anybody has logged in.
    static func bootstrap(_ web: WebClient, _ profile: DomainProfile, email: String) async throws -> Bootstrap {
        let what = "say where its services are"
        let response: WebResponse
        do {
            response = try await web.send(WebRequest(url: profile.core + "/bootstrap?email=" + FormText.encode(email)))
        } catch let error as DiagnosedError {
            throw CloudError.passing(error, server: "the core")
        }
        guard response.status == 200 else { throw CloudError.refusal(response, what) }
        let bootstrap = try Bootstrap(json: response.body)
        try DomainPins(profile).check(bootstrap)
        return bootstrap
    }

    // MARK: - KMS

    func details(userID: String) async throws -> [UInt8] {
        try await call(.init(url: bootstrap.encryption + "/kms/" + userID), "tell the key of the KMS").body
    }

    func sendToKMS(_ messages: [String], destination: String, deviceURL: String) async throws {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("destination", destination)
        json.member("kmsMessages", messages)
        json.endObject()
        _ = try await call(
            post("/kms/messages", at: bootstrap.encryption, json, headers: [("cisco-device-url", deviceURL)]),
            "take a message for the KMS")
    }

    // MARK: - Devices and persons

    func registerDevice(name: String) async throws -> ClientState.Device {
        var json = JSONWriter()
        json.beginObject()
        json.member("name", name)
        json.member("deviceType", "hds")
        json.endObject()
        let root = try await object(post("", at: bootstrap.devices, json), "register this device")
        guard let id = root["id"]?.string, let url = root["url"]?.string, let socket = root["webSocketUrl"]?.string
        else {
            throw CloudError.malformed("id, url and webSocketUrl of a device")
        }
        try pins.check(coreURL: url)
        try pins.check(coreURL: socket)
        return ClientState.Device(id: id, url: url, webSocketURL: socket)
    }

    func deleteDevice(_ device: ClientState.Device) async throws {
        try pins.check(coreURL: device.url)
        _ = try await call(WebRequest(method: "DELETE", url: device.url), "delete a device")
    }

    func person(email: String) async throws -> (id: String, ClientState.Person) {
        try await person("email=" + FormText.encode(email))
    }

    func person(id: String) async throws -> (id: String, ClientState.Person) { try await person("id=" + id) }

    private func person(_ query: String) async throws -> (id: String, ClientState.Person) {
        let root = try await object(WebRequest(url: bootstrap.directory + "/users?" + query), "find a person")
        guard let id = root["id"]?.string, UUIDText.isValid(id), let email = root["email"]?.string else {
            throw CloudError.malformed("id, email and name of a person")
        }
        return (id.lowercased(), ClientState.Person(email: email, name: root["name"]?.string ?? email))
    }

    // MARK: - Conversations

    func conversations() async throws -> [Conversation] {
        let root = try await object(
            WebRequest(url: bootstrap.conversations, maximumResponseBytes: 16 << 20), "list your spaces")
        return (root["items"]?.elements ?? []).compactMap { Conversation($0) }
    }

    func conversation(_ id: String) async throws -> Conversation {
        let root = try await object(WebRequest(url: bootstrap.conversations + "/" + id), "find the space")
        guard let conversation = Conversation(root), conversation.id == id else {
            throw CloudError.malformed("the conversation that was asked for")
        }
        return conversation
    }

    func createConversation(
        name: EncryptedText, keyURI: String, participants: [String], kmsMessage: String, step: String
    ) async throws -> Conversation {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("displayName", name.jwe)
        json.member("encryptionKeyUrl", keyURI)
        json.member("participants", participants)
        json.member("kmsMessage", kmsMessage)
        json.member("clientTempId", step)
        json.endObject()
        let root = try await object(
            post("", at: bootstrap.conversations, json, timeout: .seconds(40)), "create the space")
        guard let conversation = Conversation(root) else { throw CloudError.malformed("a conversation") }
        return conversation
    }

    func setResource(_ uri: String, of conversation: String) async throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("kmsResourceObjectUrl", uri)
        json.endObject()
        var request = post("/\(conversation)/resource", at: bootstrap.conversations, json)
        request.method = "PUT"
        _ = try await call(request, "note the keys' owner of the space")
    }

    func activities(in conversation: String, since: Int64, limit: Int) async throws -> (items: [Activity], next: Int64)
    {
        let url = "\(bootstrap.conversations)/\(conversation)/activities?since=\(since)&limit=\(limit)"
        let root = try await object(WebRequest(url: url, maximumResponseBytes: 128 << 20), "give the messages")
        guard let elements = root["items"]?.elements, let next = root["next"]?.integer else {
            throw CloudError.malformed("items and next")
        }
        return (elements.compactMap { Activity($0) }, next)
    }

    /// What a client adds to a conversation. Content is encrypted by its type.
    enum Draft: Sendable {
        case post(EncryptedText, keyURI: String)
        case share([(name: EncryptedText, size: Int, url: String, record: EncryptedText)], keyURI: String)
        case edit(message: String, EncryptedText, keyURI: String)
        case delete(message: String)
        case add(person: String, kmsMessage: String)
        case leave(person: String, kmsMessage: String)
        case updateKey(String, kmsMessage: String)
    }

    func append(_ draft: Draft, to conversation: String, step: String) async throws -> Activity {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        switch draft {
        case .post(let text, let keyURI):
            json.member("verb", "post")
            json.member("encryptionKeyUrl", keyURI)
            json.name("object")
            json.beginObject()
            json.member("objectType", "comment")
            json.member("displayName", text.jwe)
            json.endObject()
        case .share(let files, let keyURI):
            json.member("verb", "share")
            json.member("encryptionKeyUrl", keyURI)
            json.name("object")
            json.beginObject()
            json.member("objectType", "content")
            json.name("files")
            json.beginArray()
            for file in files {
                json.beginObject()
                json.member("displayName", file.name.jwe)
                json.member("fileSize", file.size)
                json.member("url", file.url)
                json.member("scr", file.record.jwe)
                json.endObject()
            }
            json.endArray()
            json.endObject()
        case .edit(let message, let text, let keyURI):
            json.member("verb", "edit")
            json.member("encryptionKeyUrl", keyURI)
            json.name("object")
            json.beginObject()
            json.member("objectType", "comment")
            json.member("id", message)
            json.member("displayName", text.jwe)
            json.endObject()
        case .delete(let message):
            json.member("verb", "delete")
            json.name("object")
            json.beginObject()
            json.member("objectType", "activity")
            json.member("id", message)
            json.endObject()
        case .add(let person, let kmsMessage): Self.write("add", person, kmsMessage, to: &json)
        case .leave(let person, let kmsMessage): Self.write("leave", person, kmsMessage, to: &json)
        case .updateKey(let keyURI, let kmsMessage):
            json.member("verb", "updateKey")
            json.member("encryptionKeyUrl", keyURI)
            json.member("kmsMessage", kmsMessage)
        }
        json.member("clientTempId", step)
        json.endObject()
        let request = post("/\(conversation)/activities", at: bootstrap.conversations, json, timeout: .seconds(40))
        guard let activity = Activity(try await object(request, "take the message")) else {
            throw CloudError.malformed("the stored activity")
        }
        return activity
    }

    private static func write(_ verb: String, _ person: String, _ kmsMessage: String, to json: inout JSONWriter) {
        json.member("verb", verb)
        json.name("object")
        json.beginObject()
        json.member("objectType", "person")
        json.member("id", person)
        json.endObject()
        json.member("kmsMessage", kmsMessage)
    }

    // MARK: - Search

    struct SearchAnswer: Sendable {
        let items: [Activity]
        /// Conversations that were not searched, with the core's word for why.
        let leftOut: [(conversation: String, reason: String)]
    }

    func search(
        _ query: EncryptedText, keyURI: String, in conversation: String?, limit: Int
    ) async throws -> SearchAnswer {
        guard let url = bootstrap.search else {
            throw DiagnosedError(.cloudAnswer, fault: .peer, "this core has no search service")
        }
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.member("query", query.jwe)
        json.member("searchEncryptionKeyUrl", keyURI)
        json.member("limit", limit)
        json.member("sharedIn", ifPresent: conversation)
        json.endObject()
        let root = try await object(post("", at: url, json, timeout: .seconds(40)), "search")
        guard let items = root["items"]?.elements else { throw CloudError.malformed("items") }
        let leftOut = (root["leftOut"]?.elements ?? []).compactMap { node -> (conversation: String, reason: String)? in
            guard let id = node["conversation"]?.string else { return nil }
            return (id, (node["reason"]?.string ?? "").loggable)
        }
        return SearchAnswer(items: items.compactMap { Activity($0) }, leftOut: leftOut)
    }

    // MARK: - eDiscovery

    /// The sealed parts of the worker's answer.
    func ediscovery(_ command: EncryptedText, keyURI: String) async throws -> [EncryptedText] {
        guard let url = bootstrap.ediscovery else {
            throw DiagnosedError(.cloudAnswer, fault: .peer, "this core has no eDiscovery")
        }
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("message", command.jwe)
        json.member("encryptionKeyUrl", keyURI)
        json.endObject()
        let root = try await object(post("", at: url, json, timeout: .seconds(40)), "take the command")
        guard let messages = root["messages"]?.strings else { throw CloudError.malformed("messages") }
        return messages.map { EncryptedText(received: $0) }
    }

    // MARK: - Files

    func createFile() async throws -> (uploadURL: String, downloadURL: String) {
        let root = try await object(WebRequest(method: "POST", url: bootstrap.files), "make room for the file")
        guard let upload = root["uploadUrl"]?.string, let download = root["downloadUrl"]?.string else {
            throw CloudError.malformed("uploadUrl and downloadUrl")
        }
        try pins.check(coreURL: upload)
        try pins.check(coreURL: download)
        return (upload, download)
    }

    func upload(_ path: String, to url: String) async throws {
        try pins.check(coreURL: url)
        _ = try await call(
            WebRequest(
                method: "PUT", url: url, headers: [("Content-Type", "application/octet-stream")],
                timeout: .seconds(3600)), "take the file"
        ) { [web] in try await web.send($0, bodyFile: path) }
    }

    func download(_ url: String, to path: String, maximumBytes: Int) async throws {
        try pins.check(coreURL: url)
        _ = try await call(
            WebRequest(url: url, timeout: .seconds(3600), maximumResponseBytes: maximumBytes), "give the file"
        ) { [web] in try await web.download($0, toFile: path) }
    }

    // MARK: - Sending

    func post(
        _ path: String, at base: String, _ json: borrowing JSONWriter, headers: [(String, String)] = [],
        timeout: Duration = .seconds(30)
    ) -> WebRequest {
        WebRequest(
            method: "POST", url: base + path, headers: [("Content-Type", "application/json")] + headers,
            body: json.bytes(), timeout: timeout)
    }

    func object(_ request: WebRequest, _ what: String) async throws -> JSONNode {
        let response = try await call(request, what)
        let limits = JSONDocument.Limits(maximumDepth: 14, maximumNodes: 2_000_000, maximumBytes: 128 << 20)
        guard let root = try? JSONDocument(response.body, limits: limits).root, root.kind == .object else {
            throw CloudError.malformed("a JSON object")
        }
        return root
    }

    func call(_ request: WebRequest, _ what: String) async throws -> WebResponse {
        try await call(request, what) { [web] in try await web.send($0) }
    }

    private func call(
        _ request: WebRequest, _ what: String, send: (WebRequest) async throws -> WebResponse
    ) async throws -> WebResponse {
        try pins.check(coreURL: request.url)
        var used: Tokens?
        for isLast in [false, true] {
            let tokens = try await tokens.tokens(insteadOf: used)
            used = tokens
            var authorized = request
            tokens.cloud.reveal { authorized.headers.append(("Authorization", "Bearer " + $0)) }
            authorized.headers.append(("trackingid", "hds_" + UUIDText.random()))
            let response: WebResponse
            do {
                response = try await send(authorized)
            } catch let error as DiagnosedError {
                throw CloudError.passing(error, server: "the core")
            }
            if response.status == 401, !isLast { continue }
            guard (200..<300).contains(response.status) else { throw CloudError.refusal(response, what) }
            return response
        }
        throw CloudError.malformed("an answer")
    }
}
