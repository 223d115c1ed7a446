import Diagnostics
package import WireText

/// What a service says first on a link: who it is and which destination it serves. JSON on the wire; unknown members
/// are ignored, so that a newer service can speak to an older core.
package struct LinkHello: Equatable, Sendable {
    package static let protocolVersion: Int64 = 1

    package var protocolVersion: Int64
    /// The kind of service: `kms`.
    package var service: String
    /// The node's name, unique among the nodes of a service.
    package var node: String
    package var organisation: String
    /// The release of the service.
    package var version: String
    package var epoch: Int64
    /// The destination it answers for: `kms://HOST`.
    package var destination: String
    /// The details document that clients are given, a JSON text.
    package var details: String
    /// 32 random octets of this connection, over which the core may prove itself; nil from an older service.
    package var nonce: [UInt8]?

    /// ES256 by the node's key over `provenOctets`; nil from a node without a key, or to a core that gave no nonce.
    package var proof: [UInt8]?
    /// The signed list of nodes, a compact JWS, as this node has it.
    package var nodeList: String?
    /// It takes `noted` frames; false for an older service. Not proved: who changes it changes only when strings come again.
    package var knowsNotes = true

    package static let nonceBytes = 32
    package static let proofBytes = 64

    package init(
        service: String, node: String, organisation: String, version: String, epoch: Int64, destination: String,
        details: String, nonce: [UInt8]? = nil, proof: [UInt8]? = nil, nodeList: String? = nil
    ) {
        self.nonce = nonce
        self.proof = proof
        self.nodeList = nodeList
        protocolVersion = Self.protocolVersion
        self.service = service
        self.node = node
        self.organisation = organisation
        self.version = version
        self.epoch = epoch
        self.destination = destination
        self.details = details
    }

    init(json bytes: some Collection<UInt8>) throws(DiagnosedError) {
        let root = try greeting(bytes).root
        protocolVersion = try root.integer("protocol", of: "hello")
        service = try root.text("service", of: "hello", maximum: 64)
        node = try root.text("node", of: "hello", maximum: 255)
        organisation = try root.text("organisation", of: "hello", maximum: 255)
        version = try root.text("version", of: "hello", maximum: 255)
        epoch = try root.integer("epoch", of: "hello")
        destination = try root.text("destination", of: "hello", maximum: 512)
        details = try root.text("details", of: "hello", maximum: LinkFrame.maximumBytes)
        nonce = try root.octets("nonce", of: "hello", count: Self.nonceBytes)
        proof = try root.octets("proof", of: "hello", count: Self.proofBytes)
        nodeList =
            root["nodeList"] == nil
            ? nil : try root.text("nodeList", of: "hello", maximum: LinkFrame.maximumListBytes)
        knowsNotes = root["notes"]?.boolean == true
    }

    /// What the node signs: that it speaks on this very connection, as whom and in which epoch. `exporter`: the TLS
    /// exporter value of the connection (RFC 9266), empty where TLS is inspected; `nonce`: the core's, of this connection.
    package func provenOctets(exporter: [UInt8], nonce: [UInt8]) -> [UInt8] {
        var octets = Array("HDS link hello v1\0".utf8)
        for part in [exporter, nonce] {
            octets.append(contentsOf: withUnsafeBytes(of: UInt32(part.count).bigEndian) { Array($0) })
            octets += part
        }
        for text in [service, node, organisation, destination] { octets.append(lengthPrefixed: text) }
        octets.append(bigEndian: epoch)
        return octets
    }

    var json: String {
        var writer = JSONWriter(reserving: 256 + details.utf8.count)
        writer.beginObject()
        writer.member("protocol", protocolVersion)
        writer.member("service", service)
        writer.member("node", node)
        writer.member("organisation", organisation)
        writer.member("version", version)
        writer.member("epoch", epoch)
        writer.member("destination", destination)
        writer.member("details", details)
        if let nonce { writer.member("nonce", Base64URL.encode(nonce)) }
        if let proof { writer.member("proof", Base64URL.encode(proof)) }
        writer.member("nodeList", ifPresent: nodeList)
        if knowsNotes { writer.member("notes", true) }
        writer.endObject()
        return writer.text()
    }
}

/// The core's consent: from here on it delivers and takes answers.
package struct LinkWelcome: Equatable, Sendable {
    /// The core's name for this connection, for logs on both sides.
    package var connection: String
    /// Both sides send a WebSocket ping at this interval and close after three without a sign of life.
    package var heartbeatSeconds: Int64
    /// The most deliveries that the core lets be unanswered on this link, whatever the service grants.
    package var credit: Int64
    package var serverTime: Timestamp
    /// The most calls of the service that may be without an outcome. A core that knows no calls does not send it: 0.
    package var calls: Int64
    /// Feeds that the service may subscribe to. A core that knows none does not send it. Not signed: who takes it away takes
    /// no more than who takes away the items.
    package var feeds: [String]
    /// ES256 by the core's application key over `signedOctets`; nil from a core without one, or to a hello without a
    /// nonce.
    package var signature: [UInt8]?
    /// The version of the list of nodes that the core goes by, 0 for none yet. Nil from a core that keeps none: it is sent
    /// none.
    package var nodeList: Int64?
    /// It sends a `noted` for each decline; false from an older core. Not signed, as `feeds`.
    package var sendsNotes = false

    package static let signatureBytes = 64

    package init(
        connection: String, heartbeatSeconds: Int64, credit: Int64, serverTime: Timestamp, calls: Int64 = 0,
        feeds: [String] = [], signature: [UInt8]? = nil
    ) {
        self.signature = signature
        self.feeds = feeds
        self.connection = connection
        self.heartbeatSeconds = heartbeatSeconds
        self.credit = credit
        self.serverTime = serverTime
        self.calls = calls
    }

    init(json bytes: some Collection<UInt8>) throws(DiagnosedError) {
        let root = try greeting(bytes).root
        connection = try root.text("connection", of: "welcome", maximum: 255)
        heartbeatSeconds = try root.integer("heartbeatSeconds", of: "welcome")
        credit = try root.integer("credit", of: "welcome")
        calls = root["calls"] == nil ? 0 : try root.integer("calls", of: "welcome")
        guard (1...300).contains(heartbeatSeconds), (1...Int64(UInt32.max)).contains(credit),
            (0...Int64(UInt32.max)).contains(calls)
        else {
            throw .linkViolation(
                "welcome is out of bounds", expected: "heartbeatSeconds 1 to 300, a positive credit, no negative calls",
                found: "heartbeatSeconds \(heartbeatSeconds), credit \(credit), calls \(calls)")
        }
        guard let time = Timestamp(iso8601: try root.text("serverTime", of: "welcome", maximum: 64)) else {
            throw .linkViolation("serverTime in welcome is no RFC 3339 time")
        }
        serverTime = time
        feeds = (root["feeds"]?.elements ?? []).compactMap(\.string)
        signature = try root.octets("signature", of: "welcome", count: Self.signatureBytes)
        nodeList = root["nodeList"] == nil ? nil : try root.integer("nodeList", of: "welcome")
        sendsNotes = root["notes"]?.boolean == true
    }

    /// What the core signs: everything that it agrees to, for this hello and no other. Nil for a hello without a nonce.
    package func signedOctets(for hello: LinkHello) -> [UInt8]? {
        guard let nonce = hello.nonce else { return nil }
        var octets = Array("HDS link welcome v1\0".utf8)
        octets += nonce
        for text in [hello.service, hello.node, hello.organisation, hello.destination] {
            octets.append(lengthPrefixed: text)
        }
        octets.append(bigEndian: hello.epoch)
        octets.append(lengthPrefixed: connection)
        octets.append(lengthPrefixed: serverTime.iso8601)
        for number in [heartbeatSeconds, credit, calls] { octets.append(bigEndian: number) }
        return octets
    }

    var json: String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("connection", connection)
        writer.member("heartbeatSeconds", heartbeatSeconds)
        writer.member("credit", credit)
        writer.member("serverTime", serverTime.iso8601)
        if calls > 0 { writer.member("calls", calls) }
        if !feeds.isEmpty { writer.member("feeds", feeds) }
        if let signature { writer.member("signature", Base64URL.encode(signature)) }
        if let nodeList { writer.member("nodeList", nodeList) }
        if sendsNotes { writer.member("notes", true) }
        writer.endObject()
        return writer.text()
    }
}

private func greeting(_ bytes: some Collection<UInt8>) throws(DiagnosedError) -> JSONDocument {
    do throws(DiagnosedError) {
        return try JSONDocument(bytes, limits: .init(maximumBytes: LinkFrame.maximumBytes))
    } catch {
        throw .linkViolation(error.summary, expected: error.expected, found: error.found)
    }
}

extension JSONNode {
    /// Octets in base64url, nil when the member is not there.
    fileprivate func octets(_ name: String, of frame: String, count: Int) throws(DiagnosedError) -> [UInt8]? {
        guard self[name] != nil else { return nil }
        guard let octets = Base64URL.decode(try text(name, of: frame, maximum: 4 * count)), octets.count == count else {
            throw .linkViolation("\(name) in \(frame) is out of bounds", expected: "\(count) octets in base64url")
        }
        return octets
    }

    fileprivate func text(_ name: String, of frame: String, maximum: Int) throws(DiagnosedError) -> String {
        guard let text = self[name]?.string, text.utf8.count <= maximum else {
            throw .linkViolation("\(frame) is malformed", expected: "\(name): a text of at most \(maximum) octets")
        }
        return text
    }

    fileprivate func integer(_ name: String, of frame: String) throws(DiagnosedError) -> Int64 {
        guard let value = self[name]?.integer else {
            throw .linkViolation("\(frame) is malformed", expected: "\(name): an integer")
        }
        return value
    }
}
