import Diagnostics
package import WireText

/// How often keys were given to whom in a period, from the audit trails of all nodes, without a word about any person.
///
/// Services and partners are organisations or programs: their figures are exact. What is about persons is rounded up to
/// tens, in every report, so that no single release shows in a figure or in the difference of two
/// (`docs/transparency.md`). Counted are answers with keys, not keys: an answer about a whole space carries several.
/// Signed by the attestation key, `typ` `hds-transparency-report`.
package struct TransparencyReport: Sendable, Equatable {
    /// One receiver, or one group of them.
    package struct Figure: Sendable, Equatable {
        package var name: String
        package var releases: Int64

        package init(name: String, releases: Int64) {
            (self.name, self.releases) = (name, releases)
        }
    }

    /// What the trail of one node is worth as the source of the figures.
    package struct Source: Sendable, Equatable {
        package var node: String
        package var trail: String
        package var firstRecord: Int64
        package var lastRecord: Int64
        /// Records of the period that a signed head or root covers, and that were counted.
        package var counted: Int64
        /// Records of the period that nobody has signed yet; they were not counted.
        package var unproven: Int64
        package var isVerified: Bool
        package var isWitnessed: Bool
        /// Sentences about what is missing or does not hold.
        package var gaps: [String]
    }

    package static let maximumBytes = 1 << 20
    /// Figures about persons are rounded up to a multiple of this.
    package static let step: Int64 = 10
    static let maximumReceivers = 1000

    package var from: Timestamp
    /// Not included.
    package var to: Timestamp
    package var issued: Timestamp
    /// Exact, by the name of the consent.
    package var services: [Figure]
    /// Exact, by the pseudonym of the host, or the host where it was told.
    package var partners: [Figure]
    /// Rounded; numbered anew in each report.
    package var officers: [Figure]
    /// Rounded: members, with their own tokens.
    package var users: Int64
    /// Rounded: who had the bearer of an unnamed holder.
    package var unnamed: Int64
    /// Rounded: users of this KMS who got a partner's keys, by the partner's decision.
    package var fromPartners: Int64
    package var sources: [Source]
    /// Nodes that were to be in the report, and of which no trail was given.
    package var missingNodes: [String]

    /// Whether all trails hold and cover the whole period, as far as they can show it.
    package var isComplete: Bool {
        missingNodes.isEmpty && sources.allSatisfy { $0.isVerified && $0.gaps.isEmpty && $0.unproven == 0 }
    }

    static func rounded(_ count: Int64) -> Int64 { (count + step - 1) / step * step }

    package func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("from", from.iso8601)
        json.member("to", to.iso8601)
        json.member("issued", issued.iso8601)
        json.member("complete", isComplete)
        for (name, figures) in [("services", services), ("partners", partners), ("officers", officers)] {
            json.name(name)
            json.beginArray()
            for figure in figures {
                json.beginObject()
                json.member("name", figure.name)
                json.member(name == "officers" ? "atMost" : "releases", figure.releases)
                json.endObject()
            }
            json.endArray()
        }
        json.member("usersAtMost", users)
        json.member("unnamedAtMost", unnamed)
        json.member("fromPartnersAtMost", fromPartners)
        json.name("sources")
        json.beginArray()
        for source in sources {
            json.beginObject()
            json.member("node", source.node)
            json.member("trail", source.trail)
            json.member("firstRecord", source.firstRecord)
            json.member("lastRecord", source.lastRecord)
            json.member("counted", source.counted)
            json.member("unproven", source.unproven)
            json.member("verified", source.isVerified)
            json.member("witnessed", source.isWitnessed)
            json.member("gaps", source.gaps)
            json.endObject()
        }
        json.endArray()
        json.member("missingNodes", missingNodes)
        json.endObject()
        return json.bytes()
    }

    // MARK: The file

    package func file(signedBy key: AttestationKey) throws -> String {
        try CertificateFile.text(json(), as: .transparency, signedBy: key)
    }

    /// The report in a file's content, when a believed key has signed exactly it.
    package static func verify(
        file text: String, trust: AttestationTrust
    ) throws -> (report: TransparencyReport, key: String) {
        let (payload, key) = try CertificateFile.verify(
            text, as: .transparency, of: "transparency", upTo: maximumBytes, trust: trust)
        return (try TransparencyReport(payload: payload), key)
    }

    init(payload: [UInt8]) throws(DiagnosedError) {
        let json = try StatementReader(payload, upTo: Self.maximumBytes, nodes: 40_000)
        (from, to, issued) = (try json.time("from"), try json.time("to"), try json.time("issued"))
        services = try Self.figures(json, "services", "releases")
        partners = try Self.figures(json, "partners", "releases")
        officers = try Self.figures(json, "officers", "atMost")
        users = try json.number("usersAtMost")
        unnamed = try json.number("unnamedAtMost")
        fromPartners = try json.number("fromPartnersAtMost")
        sources = try Self.sources(json)
        guard let missing = json.root["missingNodes"]?.strings else { throw StatementReader.malformed("missingNodes") }
        missingNodes = missing
        guard json.root["complete"]?.boolean == isComplete else { throw StatementReader.malformed("complete") }
    }

    private static func figures(
        _ json: StatementReader, _ name: String, _ member: String
    ) throws(DiagnosedError) -> [Figure] {
        guard let nodes = json.root[name]?.elements else { throw StatementReader.malformed(name) }
        var figures: [Figure] = []
        for node in nodes {
            guard let label = node["name"]?.string, let releases = node[member]?.integer, releases >= 0 else {
                throw StatementReader.malformed(name)
            }
            figures.append(Figure(name: label, releases: releases))
        }
        return figures
    }

    private static func sources(_ json: StatementReader) throws(DiagnosedError) -> [Source] {
        guard let nodes = json.root["sources"]?.elements else { throw StatementReader.malformed("sources") }
        var sources: [Source] = []
        for node in nodes {
            guard let name = node["node"]?.string, let trail = node["trail"]?.string,
                let first = node["firstRecord"]?.integer, let last = node["lastRecord"]?.integer,
                let counted = node["counted"]?.integer, let unproven = node["unproven"]?.integer,
                let verified = node["verified"]?.boolean, let witnessed = node["witnessed"]?.boolean,
                let gaps = node["gaps"]?.strings
            else { throw StatementReader.malformed("sources") }
            sources.append(
                Source(
                    node: name, trail: trail, firstRecord: first, lastRecord: last, counted: counted,
                    unproven: unproven, isVerified: verified, isWitnessed: witnessed, gaps: gaps))
        }
        return sources
    }

    private init(
        from: Timestamp, to: Timestamp, issued: Timestamp, figures: ReleaseFigures, sources: [Source],
        missingNodes: [String]
    ) {
        (self.from, self.to, self.issued) = (from, to, issued)
        services = figures.exact(figures.services)
        partners = figures.exact(figures.partners)
        officers = figures.officers.values.sorted(by: >).enumerated().map {
            Figure(name: "officer \($0.offset + 1)", releases: Self.rounded($0.element))
        }
        users = Self.rounded(figures.users)
        unnamed = Self.rounded(figures.unnamed)
        fromPartners = Self.rounded(figures.fromPartners)
        (self.sources, self.missingNodes) = (sources, missingNodes)
    }

    /// Reads the trails twice: who is a service shows in any of its records.
    ///
    /// - Parameters:
    ///   - from: the first moment of a day, UTC.
    ///   - to: the first moment of a later day.
    ///   - nodes: all nodes that there were in the period.
    ///   - partners: hosts of partners by their pseudonyms.
    ///   - services: names of services by the pseudonyms of their accounts.
    package static func make(
        of folders: [String], trust: AttestationTrust, witnesses: [String] = [], from: Timestamp, to: Timestamp,
        nodes: [String] = [], partners: [String: String] = [:], services: [String: String] = [:], issued: Timestamp
    ) throws -> TransparencyReport {
        guard from < to, to <= issued, from.milliseconds % 86_400_000 == 0, to.milliseconds % 86_400_000 == 0 else {
            throw DiagnosedError(
                "transparency-period", fault: .client, "the period is not usable",
                expected: "whole days (UTC) that are over", found: "\(from) to \(to)",
                hint: "a part of a day would show what single persons did; wait until its end")
        }
        var figures = ReleaseFigures(accounts: services)
        var readings: [TrailReading] = []
        for folder in folders {
            let reading = try TrailReading(folder, trust: trust, witnesses: witnesses, from: from, to: to)
            guard !readings.contains(where: { $0.node == reading.node }) else {
                throw DiagnosedError(
                    "transparency-node-twice", fault: .client, "two folders are of the node \(reading.node)",
                    hint: "name each node's trail once, else its releases count twice")
            }
            readings.append(reading)
            try reading.learnServices(&figures)
        }
        var sources: [Source] = []
        for var reading in readings { sources.append(try reading.count(into: &figures)) }
        for (pseudonym, host) in partners {
            if let releases = figures.partners.removeValue(forKey: pseudonym) { figures.partners[host] = releases }
        }
        let seen = Set(sources.map(\.node))
        return TransparencyReport(
            from: from, to: to, issued: issued, figures: figures, sources: sources.sorted { $0.node < $1.node },
            missingNodes: Set(nodes).subtracting(seen).sorted())
    }
}
