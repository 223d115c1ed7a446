package import Diagnostics
import Glibc
package import KeyStore
package import WireText

/// What a node remembers of the store outside of it, so that a whole database that was put back shows.
package struct CountersMemory: Sendable, Equatable {
    /// This node's own in the store, as long as this memory lasts.
    package var writer: String
    package var epoch: String?
    /// Epochs that were before: none of them comes again.
    package var earlier: [String] = []
    /// The highest that was seen of each writer.
    package var rows: [String: WriterSum] = [:]
    package var findings: [RollbackGuard.Finding] = []
    /// Written when the service had ended its last change: then the own row is exactly as it is here.
    package var isClosed = false
    package var began: Timestamp

    package init(writer: String = UUIDText.random(), began: Timestamp) { (self.writer, self.began) = (writer, began) }
}

/// The file of a node's `CountersMemory`: mode 0600, replaced as a whole, synced.
package struct CountersFile: Sendable {
    private static let limit = 1 << 20
    package let path: String

    package init(path: String) { self.path = path }

    /// Nil when there is none.
    package func load() throws(DiagnosedError) -> CountersMemory? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw failed("the file of counters can not be read", errno)
        }
        defer { close(descriptor) }
        var octets: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while octets.count <= Self.limit {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failed("the file of counters can not be read", errno) }
            guard count > 0 else { break }
            octets += buffer[..<count]
        }
        guard let memory = CountersMemory(octets) else {
            throw DiagnosedError(
                .countersFile, fault: .configuration, "\(path) is no file of counters",
                expected: "what this program wrote",
                hint: "move it away; then nothing is known of what the database was before")
        }
        return memory
    }

    /// Either the old or the new memory is on the disk, whenever the machine stops.
    package func save(_ memory: CountersMemory) throws(DiagnosedError) {
        let text = memory.text()
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failed("the file of counters can not be made", errno) }
        var written = 0
        var failure: Int32 = 0
        while written < text.count, failure == 0 {
            let count = text[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 { failure = errno == EINTR ? 0 : errno } else { written += count }
        }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        close(descriptor)
        if failure == 0, rename(temporary, path) != 0 { failure = errno }
        guard failure == 0 else {
            unlink(temporary)
            throw failed("the file of counters can not be written", failure)
        }
        let slash = path.lastIndex(of: "/")
        let folder = open(slash.map { String(path[...$0]) } ?? ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failed("the folder of the file of counters can not be synced", errno) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failed("the folder of the file of counters can not be synced", errno) }
    }

    private func failed(_ what: String, _ code: Int32) -> DiagnosedError {
        DiagnosedError(
            .countersFile, fault: .configuration, "\(what): \(path)", found: String(cString: strerror(code)),
            hint: "see to the disk and who may write there; rollback.counters-file names another place")
    }
}

extension DiagnosedError.Code {
    package static let countersFile: Self = "counters-file"
}

extension CountersMemory {
    func text() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("writer", writer)
        json.member("epoch", ifPresent: epoch)
        json.member("earlier", earlier)
        json.member("began", began.milliseconds)
        json.member("closed", isClosed)
        json.name("rows")
        json.beginArray()
        for row in rows.values.sorted(by: { $0.writer < $1.writer }) {
            json.beginObject()
            json.member("writer", row.writer)
            json.member("counter", row.counter)
            json.member("sum", Hexadecimal.encode(row.sum.octets))
            json.endObject()
        }
        json.endArray()
        json.name("findings")
        json.beginArray()
        for finding in findings {
            json.beginObject()
            json.member("kind", finding.kind.rawValue)
            json.member("id", finding.id)
            json.member("text", finding.text)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.bytes()
    }

    init?(_ octets: [UInt8]) {
        guard let root = try? octets.withUnsafeBytes({ try JSONDocument($0).root }), root.kind == .object,
            let writer = root["writer"]?.string, RecordID(writer) != nil, let began = root["began"]?.integer
        else { return nil }
        self.init(writer: writer, began: Timestamp(milliseconds: began))
        epoch = root["epoch"]?.string
        earlier = root["earlier"]?.strings ?? []
        isClosed = root["closed"]?.boolean ?? false
        for node in root["rows"]?.elements ?? [] {
            guard let writer = node["writer"]?.string, let counter = node["counter"]?.integer,
                let sum = node["sum"]?.string.flatMap({ Hexadecimal.decode($0) }).flatMap({ RowSum($0) })
            else { return nil }
            rows[writer] = WriterSum(writer: writer, counter: counter, sum: sum)
        }
        for node in root["findings"]?.elements ?? [] {
            guard let kind = node["kind"]?.string.flatMap({ RollbackGuard.Finding.Kind(rawValue: $0) }),
                let id = node["id"]?.string, let text = node["text"]?.string
            else { return nil }
            findings.append(.init(kind, id: id, text))
        }
    }
}
