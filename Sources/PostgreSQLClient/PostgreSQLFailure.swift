/// What PostgreSQL or the way to it answered instead of doing it: what kind, SQLSTATE and the primary message.
///
/// Never the detail of a message, which repeats values of rows. Safe to log.
package struct PostgreSQLFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        /// No server answers there.
        case unreachable
        /// A connection that was open is gone; what was under way may or may not have been done.
        case lost
        /// No answer in time; the connection can not be used any more.
        case late
        /// The server starts, stops, or recovers.
        case unready
        /// No server that takes writes: a standby, or one that became one.
        case readOnly
        /// A server that takes writes although another one was promoted past it.
        case superseded
        /// The server is not proven to be the right one, or speaks no TLS.
        case tls
        case authentication
        case permission
        /// No such database, schema or table.
        case missing
        /// A row that should be absent is there, or one that is named is not.
        case constraint
        /// Another transaction was in the way; the same again may do.
        case serialization
        case busy
        case full
        case tooManyConnections
        case corrupt
        /// Not done because something before it in the same pipeline failed.
        case skipped
        case other
    }

    package let kind: Kind
    /// Five characters, where the server gave them.
    package let state: String?
    package let message: String

    package init(_ kind: Kind, _ message: String, state: String? = nil) {
        self.kind = kind
        self.state = state
        self.message = message
    }

    /// An answer of the server.
    package init(state: String?, message: String) {
        self.init(state.map(Self.kind) ?? .other, message, state: state)
    }

    package var description: String { state.map { "\(message) (SQLSTATE \($0))" } ?? message }

    /// Whether the connection is of no use afterwards.
    package var endsConnection: Bool {
        switch kind {
        case .unreachable, .lost, .late, .unready, .readOnly, .superseded: true
        default: false
        }
    }

    /// Whether it may go away by itself within seconds.
    package var isPassing: Bool { endsConnection || kind == .serialization || kind == .tooManyConnections }

    /// PostgreSQL 15, appendix A.
    private static func kind(_ state: String) -> Kind {
        switch state {
        case "57P01", "57P02", "57P03", "57P04", "57P05": return .unready
        case "25006": return .readOnly
        case "28000", "28P01": return .authentication
        case "42501": return .permission
        case "3D000", "3F000", "42P01": return .missing
        case "23503", "23505": return .constraint
        case "40001", "40P01", "40003": return .serialization
        case "55P03", "57014": return .busy
        case "53100", "53200": return .full
        case "53300": return .tooManyConnections
        default: break
        }
        switch state.prefix(2) {
        case "08": return .lost
        case "XX", "58": return state == "XX001" || state == "XX002" || state.hasPrefix("58") ? .corrupt : .other
        default: return .other
        }
    }

    /// What libpq says of a connection that it could not make: verbose, with SQLSTATEs of the server among its lines.
    static func connecting(_ text: String) -> PostgreSQLFailure {
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("LOCATION:") && !$0.hasPrefix("DETAIL:") }
        let message = lines.map { $0.trimming() }.joined(separator: "; ")
        let states = lines.compactMap { sqlState(in: $0) }
        func says(_ words: String...) -> Bool { words.contains { text.contains($0) } }
        if let state = states.last {
            let named = PostgreSQLFailure(state: state, message: message)
            // A server that refuses plain text says so in the words of its access list.
            if state == "28000", says("no encryption") { return PostgreSQLFailure(.tls, message, state: state) }
            return named.kind == .other || named.kind == .lost
                ? PostgreSQLFailure(.unreachable, message, state: state) : named
        }
        // By its words only where nothing else tells; libpq speaks English to a program without a locale.
        if says("session is read-only", "is in hot standby mode") { return PostgreSQLFailure(.readOnly, message) }
        if says("no password supplied", "authentication") { return PostgreSQLFailure(.authentication, message) }
        if says("could not translate host name") { return PostgreSQLFailure(.unreachable, message) }
        if says("certificate", "does not support SSL", "SSL error") {
            return PostgreSQLFailure(.tls, message)
        }
        return PostgreSQLFailure(.unreachable, message.isEmpty ? "no answer" : message)
    }

    /// `FATAL:  28P01: password authentication failed …`
    private static func sqlState(in line: Substring) -> String? {
        for severity in ["FATAL:  ", "ERROR:  ", "PANIC:  "] {
            guard let found = line.firstRange(of: severity) else { continue }
            let state = line[found.upperBound...].prefix(5)
            let isState =
                state.utf8.count == 5
                && state.utf8.allSatisfy { octet in
                    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
                        || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(octet)
                }
            if isState, line[found.upperBound...].dropFirst(5).hasPrefix(":") { return String(state) }
        }
        return nil
    }
}

extension Substring {
    fileprivate func trimming() -> Substring {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }

    fileprivate func firstRange(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
