"""Actors of other processes: refs to them, what is told and asked, who watches whom.

The rules that tests prove, each by its number:

 1. A ref to an actor of another process is equal to every other ref to it, and to the one that the actor has of itself
    once it is there. It names one incarnation of one actor in one process, and nobody else ever gets its messages.
 2. Messages from one process to another arrive in the order in which they were sent, whatever happens to connections.
 3. What cannot be sent is an error at the sender. What could not be delivered is a dead letter, at the sender where it
    can be known there, and at the receiver otherwise.
 4. An ask ends with the answer, with the failure of its handler, when the actor has stopped, or when its process is
    lost. A handle that is sent along with an ask answers it from wherever it is.
 5. Whoever watches an actor is told of its end once, after everything that it had sent; also when its process is lost.
 6. What waits for one peer is limited. A slow peer costs its own messages and holds up nobody else.
 7. An actor can be addressed from outside once its ref was sent somewhere, or it was looked up by its path. The
    system's own actors cannot.
"""
