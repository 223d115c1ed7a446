package import Diagnostics
package import EDiscoveryModel
package import WireText

extension CollectedItem {
    /// As an officer gets it. The same item gives the same octets.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("activityId", id)
        json.member("kind", kind.rawValue)
        json.member("containerId", space)
        json.member("sequence", Int64(clamping: sequence))
        json.member("published", published.iso8601)
        json.name("author")
        author.write(to: &json)
        json.member("text", ifPresent: text)
        json.name("history")
        json.beginArray()
        for version in history {
            json.beginObject()
            json.member("text", ifPresent: version.text)
            json.member("until", version.until.iso8601)
            json.name("editor")
            version.editor.write(to: &json)
            json.endObject()
        }
        json.endArray()
        if let deletion {
            json.name("deletion")
            json.beginObject()
            json.member("at", deletion.at.iso8601)
            json.name("by")
            deletion.by.write(to: &json)
            json.endObject()
        }
        json.name("files")
        json.beginArray()
        for file in files {
            json.beginObject()
            json.member("displayName", ifPresent: file.name)
            json.member("mimeType", ifPresent: file.mediaType)
            if let size = file.size { json.member("fileSize", Int64(clamping: size)) }
            json.member("sha256", ifPresent: file.digest.map { Hexadecimal.encode($0) })
            json.member("reference", ifPresent: file.reference)
            json.endObject()
        }
        json.endArray()
        if let subject {
            json.name("subject")
            subject.write(to: &json)
        }
        json.member("parent", ifPresent: parent)
        json.name("participants")
        json.beginArray()
        for person in participants { person.write(to: &json) }
        json.endArray()
        json.member("custodians", custodians)
        json.member("context", isContext)
        json.name("problems")
        json.beginArray()
        for problem in problems {
            json.beginObject()
            json.member("class", problem.problemClass.rawValue)
            json.member("text", problem.text)
            json.endObject()
        }
        json.endArray()
        json.endObject()
    }

    package var encoded: [UInt8] {
        var json = JSONWriter(reserving: 1024)
        write(to: &json)
        return json.bytes()
    }

    /// As `write` wrote it.
    package init(_ node: JSONNode) throws(DiagnosedError) {
        guard let id = node["activityId"]?.string, let kind = node["kind"]?.string.flatMap({ Kind(rawValue: $0) }),
            let space = node["containerId"]?.string, let sequence = node["sequence"]?.integer, sequence >= 0,
            let published = Self.time(node["published"]), let author = node["author"].flatMap({ Person($0) }),
            let history = node["history"]?.elements, let files = node["files"]?.elements,
            let participants = node["participants"]?.elements, let custodians = node["custodians"]?.strings,
            let problems = node["problems"]?.elements
        else { throw DiagnosedError(.reportState, fault: .store, "a stored item is not of its form") }
        self.init(
            id: id, kind: kind, space: space, sequence: UInt64(sequence), published: published, author: author,
            text: node["text"]?.string, subject: node["subject"].flatMap { Person($0) },
            parent: node["parent"]?.string, participants: participants.compactMap { Person($0) },
            custodians: custodians, isContext: node["context"]?.boolean ?? false)
        self.history = history.compactMap { version in
            guard let until = Self.time(version["until"]), let editor = version["editor"].flatMap({ Person($0) }) else {
                return nil
            }
            return Version(text: version["text"]?.string, until: until, editor: editor)
        }
        if let deletion = node["deletion"], let at = Self.time(deletion["at"]),
            let by = deletion["by"].flatMap({ Person($0) })
        {
            self.deletion = Deletion(at: at, by: by)
        }
        self.files = files.map { file in
            CollectedFile(
                name: file["displayName"]?.string, mediaType: file["mimeType"]?.string,
                size: file["fileSize"]?.integer.flatMap { UInt64(exactly: $0) },
                digest: file["sha256"]?.string.flatMap { Hexadecimal.decode($0) },
                reference: file["reference"]?.string)
        }
        self.problems = problems.compactMap { problem in
            problem["class"]?.string.flatMap { Problem.Class(rawValue: $0) }.map {
                Problem($0, problem["text"]?.string ?? "")
            }
        }
    }

    private static func time(_ node: JSONNode?) -> Timestamp? { node?.string.flatMap { Timestamp(iso8601: $0) } }
}

extension Person {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", id)
        json.member("email", ifPresent: email)
        json.member("name", ifPresent: name)
        json.endObject()
    }

    fileprivate init?(_ node: JSONNode) {
        guard let id = node["id"]?.string else { return nil }
        self.init(id: id, email: node["email"]?.string, name: node["name"]?.string)
    }
}
